//! The monthly partitions of the events.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio_postgres::Client;

use crate::domain::event::Micros;

/// The first day of the month of a time, in UTC.
pub(crate) fn month_of(time: Micros) -> Date {
    TimeZone::UTC
        .to_datetime(time.to_timestamp())
        .date()
        .first_of_month()
}

/// Previous, current and next three months.
pub(crate) fn months_around(now: Micros) -> Vec<Date> {
    let current = month_of(now);
    (-1..=3)
        .filter_map(|months| current.checked_add(jiff::Span::new().months(months)).ok())
        .collect()
}

/// Creates the missing partitions of these months; returns their number.
pub(crate) async fn ensure(client: &Client, months: &[Date]) -> Result<usize, tokio_postgres::Error> {
    let mut made = 0;
    for month in months {
        let row = client
            .query_one(
                "SELECT audit_ensure_partition($1::text::date)",
                &[&month.to_string()],
            )
            .await?;
        if row.get(0) {
            tracing::info!(%month, "partition made");
            made += 1;
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_in_utc_and_cross_years() {
        let time = Micros::parse("2026-12-31T23:30:00-01:00").unwrap();
        assert_eq!(month_of(time).to_string(), "2027-01-01");
        let months: Vec<String> = months_around(time).iter().map(ToString::to_string).collect();
        assert_eq!(
            months,
            [
                "2026-12-01",
                "2027-01-01",
                "2027-02-01",
                "2027-03-01",
                "2027-04-01"
            ]
        );
    }
}
