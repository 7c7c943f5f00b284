//! Calendar dates, for review dates of exceptions. ADR-029 says why no calendar library is used.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// Date of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

impl Date {
    /// Returns the current date in UTC.
    pub(crate) fn today() -> Date {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Date::from_days(i64::try_from(seconds / 86_400).unwrap_or(0))
    }

    /// Converts a number of days after 1970-01-01.
    fn from_days(days: i64) -> Date {
        // Years are counted from March, so that a leap day ends its year; 400 of them have 146,097 days.
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date {
            year,
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
        }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        let date: toml::value::Datetime = text
            .parse()
            .map_err(|_| format!("invalid date {text:?}: write it as 2026-01-31"))?;
        let date = date
            .date
            .ok_or_else(|| format!("invalid date {text:?}: write it as 2026-01-31"))?;
        Ok(Date::from(date))
    }
}

impl From<toml::value::Date> for Date {
    fn from(date: toml::value::Date) -> Date {
        Date {
            year: i64::from(date.year),
            month: date.month,
            day: date.day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_days_through_leap_years() {
        let known = [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_454, "2026-01-01"),
        ];
        for (days, text) in known {
            assert_eq!(Date::from_days(days).to_string(), text);
        }
    }

    #[test]
    fn parses_and_compares_dates() {
        let date = |text: &str| text.parse::<Date>().unwrap();
        assert!(date("2026-01-31") < date("2026-02-01"));
        assert!("31.1.2026".parse::<Date>().is_err());
    }
}
