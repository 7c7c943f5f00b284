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

/// Checks when an alert began. An absent time is accepted if another alert of the webhook has one (`dated`).
///
/// # Errors
/// Why it is rejected.
pub fn check_start(start: Option<Timestamp>, dated: bool, now: Timestamp) -> Result<(), String> {
    match start {
        Some(start) => not_ahead(start, now),
        None if dated => Ok(()),
        None => Err(format!(
            "is absent from every alert; set it, or send the time in {HEADER}"
        )),
    }
}

/// Whether a time is further in the future than a client's clock may be.
#[must_use]
pub fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) > MAX_AHEAD
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
    check_header(header, now)?;
    let Some(last_seen) = last_seen else {
        return Err(FieldError {
            field: "lastTimestamp".to_owned(),
            message: "is absent, and so is firstTimestamp; expected one of them".to_owned(),
        });
    };
    recent(last_seen, now).map_err(|message| FieldError {
        field: "lastTimestamp".to_owned(),
        message,
    })
}

/// Checks the header with the time of sending, if it is present.
///
/// # Errors
/// Why it is rejected.
pub fn check_header(header: Option<&str>, now: Timestamp) -> Result<(), FieldError> {
    let Some(header) = header else { return Ok(()) };
    let seconds: Option<i64> = header.trim().parse().ok();
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let result = match time {
        Some(time) => recent(time, now),
        None => Err(format!("{header:?} is not a time; expected Unix seconds")),
    };
    result.map_err(|message| FieldError {
        field: HEADER.to_owned(),
        message,
    })
}

fn recent(time: Timestamp, now: Timestamp) -> Result<(), String> {
    let age = now.duration_since(time);
    if age > MAX_AGE {
        return Err(format!(
            "is {} s in the past; at most {} s are accepted",
            age.as_secs(),
            MAX_AGE.as_secs()
        ));
    }
    not_ahead(time, now)
}

fn not_ahead(time: Timestamp, now: Timestamp) -> Result<(), String> {
    if !is_ahead(time, now) {
        return Ok(());
    }
    Err(format!(
        "is {} s in the future; at most {} s are accepted",
        time.duration_since(now).as_secs(),
        MAX_AHEAD.as_secs()
    ))
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
            assert_eq!(check_header(Some(&header), now()).is_ok(), fine, "{seconds}");
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
                check_header(Some(wrong), now()).unwrap_err().field,
                HEADER,
                "{wrong}"
            );
        }
    }

    #[test]
    fn old_alerts_are_accepted_and_future_ones_rejected() {
        for (seconds, fine) in [(-30 * 86_400, true), (0, true), (120, true), (121, false)] {
            assert_eq!(
                check_start(Some(at(seconds)), false, now()).is_ok(),
                fine,
                "{seconds}"
            );
        }
        assert!(check_start(None, false, now()).unwrap_err().contains(HEADER));
        assert_eq!(check_start(None, true, now()), Ok(()));
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
