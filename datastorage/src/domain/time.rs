//! Times: as stored, and as clients write them.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// Microseconds since 1970 in UTC: PostgreSQL's resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Micros(pub(crate) i64);

/// 0001-01-01 and 10000-01-01, in UTC.
const YEAR_1: Micros = Micros(-62_135_596_800_000_000);
const YEAR_10000: Micros = Micros(253_402_300_800_000_000);

impl Micros {
    pub(crate) fn now() -> Self {
        Self(Timestamp::now().as_microsecond())
    }

    /// Whether PostgreSQL, RFC 3339 and the calendar have it: years 1 to 9999.
    pub(crate) fn is_representable(self) -> bool {
        (YEAR_1.0..YEAR_10000.0).contains(&self.0)
    }

    /// Parses RFC 3339; digits below a microsecond are cut off.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.parse::<Timestamp>()
            .ok()
            .map(|time| Self(time.as_microsecond()))
    }

    /// As a `jiff` timestamp; times out of its range become its bounds.
    pub(crate) fn to_timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        })
    }
}

/// Bounds of the difference between a sender's clock and the service's, in microseconds; beyond them an event is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockBounds {
    pub(crate) max_ahead: i64,
    pub(crate) max_age: i64,
}

impl ClockBounds {
    /// Whether a time differs by more from the time of its arrival or storing.
    pub(crate) fn exceeded(self, time: Micros, recorded: Micros) -> bool {
        let age = recorded.0.saturating_sub(time.0);
        age > self.max_age || age < -self.max_ahead
    }
}

/// Maximum age of a time in days, the maximum retention, and maximum days ahead: they bound the number of partitions
/// (docs/adr/0047-marked-clocks.md).
const MAX_AGE_DAYS: i64 = 2555;
const MAX_AHEAD_DAYS: i64 = 366;
const DAY: i64 = 24 * 3600 * 1_000_000;

/// Why a time cannot be stored, if it cannot.
pub(crate) fn unstorable(time: Micros, now: Micros) -> Option<String> {
    let age = now.0.saturating_sub(time.0);
    let allowed = -MAX_AHEAD_DAYS * DAY..=MAX_AGE_DAYS * DAY;
    (!allowed.contains(&age)).then(|| {
        format!(
            "is {}; expected at most {MAX_AGE_DAYS} days before and {MAX_AHEAD_DAYS} days after {}",
            time.to_timestamp(),
            now.to_timestamp()
        )
    })
}

/// The end of a day that a date stands for.
#[derive(Clone, Copy)]
pub(crate) enum DayEdge {
    /// Its first microsecond.
    First,
    /// Its last microsecond.
    Last,
}

/// A time from year 1 to 9999: RFC 3339, a date (its first or last microsecond in UTC), or a span before now.
pub(crate) fn moment(text: &str, now: Micros, edge: DayEdge) -> Option<Micros> {
    any_moment(text, now, edge).filter(|time| time.is_representable())
}

fn any_moment(text: &str, now: Micros, edge: DayEdge) -> Option<Micros> {
    if let Some(span) = span(text) {
        return Some(Micros(now.0.checked_sub(span)?));
    }
    if let Ok(date) = text.parse::<Date>()
        && text.len() == 10
    {
        let day = |date: Date| {
            Some(
                TimeZone::UTC
                    .to_timestamp(date.to_datetime(Time::midnight()))
                    .ok()?
                    .as_microsecond(),
            )
        };
        return match edge {
            DayEdge::First => day(date).map(Micros),
            DayEdge::Last => day(date.tomorrow().ok()?).map(|next| Micros(next - 1)),
        };
    }
    Micros::parse(text)
}

/// Microseconds of `90s`, `90m`, `24h`, `7d` or `2w`.
pub(crate) fn span(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits
        .parse::<i64>()
        .ok()?
        .checked_mul(seconds)?
        .checked_mul(1_000_000)
}
