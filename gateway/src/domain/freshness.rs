//! Rejects replayed requests: a captured one must not create a request again days later.
//!
//! Alertmanager cannot send the time in a header, and its alerts fire for days, so that `startsAt` may be old. Clients
//! that can send the time must be recent.

use jiff::{SignedDuration, Timestamp};
use wire::problem::FieldError;

/// Maximum age of a time that must be recent.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);
/// Maximum time that a client's clock may be ahead.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(2);

/// The header with the time of sending, in Unix seconds.
pub const HEADER: &str = "X-Timestamp";
/// [`HEADER`] as a typed name.
pub const HEADER_LOWERCASE: &str = "x-timestamp";

/// Checks the time of a webhook: the header if present, otherwise the newest `startsAt`.
///
/// # Errors
/// The invalid one of the two, and why.
pub fn check_webhook(
    header: Option<&str>,
    newest_start: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), FieldError> {
    match (header, newest_start) {
        (Some(header), _) => check_header(header, now),
        (None, Some(start)) => not_ahead("alerts[].startsAt", start, now),
        (None, None) => Err(FieldError {
            field: "alerts[].startsAt".to_owned(),
            message: format!("is absent from every alert; set it, or send the time in {HEADER}"),
        }),
    }
}

/// Checks the time of an event: the header if present, and the event's own time.
///
/// # Errors
/// The invalid one of the two, and why.
pub fn check_event(
    header: Option<&str>,
    last_seen: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), FieldError> {
    if let Some(header) = header {
        check_header(header, now)?;
    }
    let Some(last_seen) = last_seen else {
        return Err(FieldError {
            field: "lastTimestamp".to_owned(),
            message: "is absent, and so is firstTimestamp; expected one of them".to_owned(),
        });
    };
    recent("lastTimestamp", last_seen, now)
}

fn check_header(header: &str, now: Timestamp) -> Result<(), FieldError> {
    let wrong = || FieldError {
        field: HEADER.to_owned(),
        message: format!("{header:?} is not a time; expected Unix seconds"),
    };
    let seconds: i64 = header.trim().parse().map_err(|_| wrong())?;
    recent(HEADER, Timestamp::from_second(seconds).map_err(|_| wrong())?, now)
}

fn recent(field: &str, time: Timestamp, now: Timestamp) -> Result<(), FieldError> {
    let age = now.duration_since(time);
    if age > MAX_AGE {
        return Err(FieldError {
            field: field.to_owned(),
            message: format!(
                "is {} s in the past; at most {} s are accepted",
                age.as_secs(),
                MAX_AGE.as_secs()
            ),
        });
    }
    not_ahead(field, time, now)
}

fn not_ahead(field: &str, time: Timestamp, now: Timestamp) -> Result<(), FieldError> {
    let ahead = time.duration_since(now);
    if ahead <= MAX_AHEAD {
        return Ok(());
    }
    Err(FieldError {
        field: field.to_owned(),
        message: format!(
            "is {} s in the future; at most {} s are accepted",
            ahead.as_secs(),
            MAX_AHEAD.as_secs()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).unwrap()
    }

    fn at(seconds_from_now: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds_from_now).unwrap()
    }

    #[test]
    fn the_header_must_be_recent() {
        for (seconds, fine) in [(0, true), (-300, true), (-301, false), (120, true), (121, false)] {
            let header = at(seconds).as_second().to_string();
            assert_eq!(
                check_webhook(Some(&header), None, now()).is_ok(),
                fine,
                "{seconds}"
            );
            assert_eq!(
                check_event(Some(&header), Some(now()), now()).is_ok(),
                fine,
                "{seconds}"
            );
        }
        for wrong in [
            "",
            "now",
            "1.5",
            "99999999999999999999",
            "2025-12-01T00:00:00Z",
            "253402300800000",
        ] {
            assert_eq!(
                check_webhook(Some(wrong), None, now()).unwrap_err().field,
                HEADER,
                "{wrong}"
            );
        }
    }

    #[test]
    fn without_a_header_old_alerts_are_accepted_and_future_ones_rejected() {
        for (seconds, fine) in [(-30 * 86_400, true), (0, true), (120, true), (121, false)] {
            assert_eq!(
                check_webhook(None, Some(at(seconds)), now()).is_ok(),
                fine,
                "{seconds}"
            );
        }
        assert_eq!(
            check_webhook(None, None, now()).unwrap_err().field,
            "alerts[].startsAt"
        );
    }

    #[test]
    fn events_must_be_recent() {
        for (seconds, fine) in [(-300, true), (-301, false), (120, true), (121, false)] {
            assert_eq!(
                check_event(None, Some(at(seconds)), now()).is_ok(),
                fine,
                "{seconds}"
            );
        }
        assert_eq!(check_event(None, None, now()).unwrap_err().field, "lastTimestamp");
    }
}
