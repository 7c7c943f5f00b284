//! Which events are asked for: the query parameters of a list, read and checked all at once.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use uuid::Uuid;
use wire::audit::{EventCategory, EventOutcome};

use super::event::Micros;
use super::fields::{Invalid, Reason, shown};

pub(crate) const MOST_EVENTS_OF_A_PAGE: i64 = 1000;
const EVENTS_OF_A_PAGE: i64 = 50;
/// An offset makes the database walk over all that is left out.
const MOST_OFFSET: i64 = 1_000_000;
const DETAIL_LEVELS: usize = 9;

/// What an event must match; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    pub(crate) correlation_id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) event_category: Option<EventCategory>,
    pub(crate) event_outcome: Option<EventOutcome>,
    pub(crate) severity: Option<String>,
    pub(crate) since: Option<Micros>,
    /// This moment included.
    pub(crate) until: Option<Micros>,
    pub(crate) detail: Option<Detail>,
}

/// A value inside of `event_data`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detail {
    /// The keys from the outside in.
    pub(crate) path: Vec<String>,
    pub(crate) value: String,
}

impl Detail {
    /// The JSON documents that an event's data must contain one of: the value as a string, and as the number,
    /// boolean or null that it also reads as.
    pub(crate) fn documents(&self) -> Vec<String> {
        let mut values = vec![serde_json::Value::String(self.value.clone())];
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(&self.value)
            && !value.is_string()
            && !value.is_array()
            && !value.is_object()
        {
            values.push(value);
        }
        values
            .into_iter()
            .map(|value| {
                let nested = self.path.iter().rev().fold(value, |inner, key| {
                    serde_json::Value::Object([(key.clone(), inner)].into_iter().collect())
                });
                nested.to_string()
            })
            .collect()
    }
}

/// The last event of a page: the next page begins below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) time: Micros,
    pub(crate) event_id: Uuid,
}

impl Cursor {
    /// 48 hex digits; callers hand it back and read nothing into it.
    pub(crate) fn encode(self) -> String {
        format!(
            "{}{}",
            hex::encode(self.time.0.to_be_bytes()),
            self.event_id.simple()
        )
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 24] = hex::decode(text).ok()?.try_into().ok()?;
        let (time, id) = bytes.split_at(8);
        Some(Self {
            time: Micros(i64::from_be_bytes(time.try_into().ok()?)),
            event_id: Uuid::from_slice(id).ok()?,
        })
    }
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Offset(i64),
    After(Cursor),
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PageRequest {
    pub(crate) filter: Filter,
    pub(crate) limit: i64,
    pub(crate) start: Start,
}

impl PageRequest {
    pub(crate) fn read(pairs: Vec<(String, String)>, now: Micros) -> Result<Self, Vec<Invalid>> {
        let mut parameters = Parameters::new(pairs);
        let filter = Filter::take(&mut parameters, now);
        let limit = parameters
            .integer("limit", 1, MOST_EVENTS_OF_A_PAGE)
            .unwrap_or(EVENTS_OF_A_PAGE);
        let offset = parameters.integer("offset", 0, MOST_OFFSET);
        let cursor = parameters.parsed("cursor", Cursor::decode, "the next_cursor of an answer");
        let start = match (offset, cursor) {
            (Some(_), Some(_)) => {
                parameters.refuse(
                    "cursor",
                    Reason::Format,
                    "and offset exclude each other; send one",
                );
                Start::Offset(0)
            }
            (_, Some(cursor)) => Start::After(cursor),
            (offset, None) => Start::Offset(offset.unwrap_or(0)),
        };
        parameters.finish()?;
        Ok(Self { filter, limit, start })
    }
}

impl Filter {
    /// A filter and nothing else, as an export takes it.
    pub(crate) fn read(pairs: Vec<(String, String)>, now: Micros) -> Result<Self, Vec<Invalid>> {
        let mut parameters = Parameters::new(pairs);
        let filter = Self::take(&mut parameters, now);
        parameters.finish()?;
        Ok(filter)
    }

    fn take(parameters: &mut Parameters, now: Micros) -> Self {
        const WHEN: &str =
            "a time such as 2026-01-31T12:00:00Z, a date, or a time span before now such as 24h, 90m, 7d";
        let filter = Self {
            correlation_id: parameters.text("correlation_id", 255),
            event_type: parameters.text("event_type", 100),
            event_category: parameters.parsed(
                "event_category",
                EventCategory::from_name,
                &EventCategory::ALL.map(EventCategory::as_str).join(", "),
            ),
            event_outcome: parameters.parsed(
                "event_outcome",
                EventOutcome::from_name,
                &EventOutcome::ALL.map(EventOutcome::as_str).join(", "),
            ),
            severity: parameters.text("severity", 20),
            since: parameters.parsed("since", |text| moment(text, now, DayEdge::First), WHEN),
            until: parameters.parsed("until", |text| moment(text, now, DayEdge::Last), WHEN),
            detail: take_detail(parameters),
        };
        if let (Some(since), Some(until)) = (filter.since, filter.until)
            && since > until
        {
            parameters.refuse("since", Reason::Range, "is after until");
        }
        filter
    }
}

fn take_detail(parameters: &mut Parameters) -> Option<Detail> {
    let key = parameters.text("detail_key", 255);
    let value = parameters.text("detail_value", 1000);
    match (key, value) {
        (Some(key), Some(value)) => {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            if path.len() > DETAIL_LEVELS || path.iter().any(String::is_empty) {
                let message = format!(
                    "is {}; expected up to {DETAIL_LEVELS} keys with dots between",
                    shown(&key)
                );
                parameters.refuse("detail_key", Reason::Format, message);
            }
            Some(Detail { path, value })
        }
        (Some(_), None) => {
            parameters.refuse("detail_value", Reason::Required, "is required beside detail_key");
            None
        }
        (None, Some(_)) => {
            parameters.refuse("detail_key", Reason::Required, "is required beside detail_value");
            None
        }
        (None, None) => None,
    }
}

#[derive(Clone, Copy)]
enum DayEdge {
    First,
    Last,
}

/// A time: RFC 3339, a date (its first or last microsecond in UTC), or a span before now.
fn moment(text: &str, now: Micros, edge: DayEdge) -> Option<Micros> {
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

/// Query parameters that are taken one by one; what is left over is unknown, so that a filter with a typing mistake
/// is not answered with everything.
pub(crate) struct Parameters {
    pairs: Vec<(String, String)>,
    invalid: Vec<Invalid>,
}

impl Parameters {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self {
            pairs,
            invalid: Vec::new(),
        }
    }

    pub(crate) fn refuse(&mut self, field: &str, reason: Reason, message: impl Into<String>) {
        self.invalid.push(Invalid::new(field, reason, message));
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let index = self.pairs.iter().position(|(key, _)| key == name)?;
        let (_, value) = self.pairs.remove(index);
        if self.pairs.iter().any(|(key, _)| key == name) {
            self.pairs.retain(|(key, _)| key != name);
            self.refuse(name, Reason::Format, "is there more than once");
        }
        Some(value)
    }

    pub(crate) fn text(&mut self, name: &str, most: usize) -> Option<String> {
        let text = self.take(name)?;
        if text.is_empty() {
            self.refuse(name, Reason::Required, "is empty; leave it out or give a value");
            return None;
        }
        if text.chars().count() > most {
            self.refuse(name, Reason::Length, format!("is longer than {most} characters"));
            return None;
        }
        if text.contains('\0') {
            self.refuse(
                name,
                Reason::Format,
                "holds U+0000, which nothing that is stored holds",
            );
            return None;
        }
        Some(text)
    }

    /// A text that must be there.
    pub(crate) fn required_text(&mut self, name: &str, most: usize) -> String {
        if !self.pairs.iter().any(|(key, _)| key == name) {
            self.refuse(name, Reason::Required, "is required");
        }
        self.text(name, most).unwrap_or_default()
    }

    pub(crate) fn integer(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let text = self.take(name)?;
        let value = text.parse().ok().filter(|value| (least..=most).contains(value));
        if value.is_none() {
            let message = format!(
                "is {}; expected a whole number from {least} to {most}",
                shown(&text)
            );
            self.refuse(name, Reason::Range, message);
        }
        value
    }

    pub(crate) fn parsed<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        let text = self.take(name)?;
        let value = read(&text);
        if value.is_none() {
            self.refuse(
                name,
                Reason::Format,
                format!("is {}; expected {expected}", shown(&text)),
            );
        }
        value
    }

    pub(crate) fn finish(mut self) -> Result<(), Vec<Invalid>> {
        for (name, _) in &self.pairs {
            self.invalid.push(Invalid::new(
                name,
                Reason::Unknown,
                "is no parameter of this; /openapi.json lists them",
            ));
        }
        if self.invalid.is_empty() {
            Ok(())
        } else {
            Err(self.invalid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_800_000_000_000_000); // 2027-01-15T08:00:00Z

    fn read(pairs: &[(&str, &str)]) -> Result<PageRequest, Vec<Invalid>> {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        PageRequest::read(pairs, NOW)
    }

    fn wrong(pairs: &[(&str, &str)]) -> Vec<String> {
        read(pairs)
            .unwrap_err()
            .into_iter()
            .map(|invalid| invalid.field)
            .collect()
    }

    #[test]
    fn nothing_asked_is_the_first_page_of_all() {
        let page = read(&[]).unwrap();
        assert_eq!(
            page,
            PageRequest {
                filter: Filter::default(),
                limit: 50,
                start: Start::Offset(0)
            }
        );
    }

    #[test]
    fn times_are_moments_days_and_spans() {
        for (text, since, until) in [
            ("24h", "2027-01-14T08:00:00Z", "2027-01-14T08:00:00Z"),
            ("90m", "2027-01-15T06:30:00Z", "2027-01-15T06:30:00Z"),
            ("7d", "2027-01-08T08:00:00Z", "2027-01-08T08:00:00Z"),
            (
                "2027-01-02",
                "2027-01-02T00:00:00Z",
                "2027-01-02T23:59:59.999999Z",
            ),
            (
                "2027-01-02T03:04:05+01:00",
                "2027-01-02T02:04:05Z",
                "2027-01-02T02:04:05Z",
            ),
        ] {
            assert_eq!(
                read(&[("since", text)]).unwrap().filter.since,
                Micros::parse(since),
                "since {text}"
            );
            assert_eq!(
                read(&[("until", text)]).unwrap().filter.until,
                Micros::parse(until),
                "until {text}"
            );
        }
        for text in [
            "",
            "h",
            "-1h",
            "1y",
            "24 h",
            "tomorrow",
            "99999999999999999999h",
            "9999999999999h",
            "2027-13-01",
            "ü",
        ] {
            assert_eq!(wrong(&[("since", text)]), ["since"], "{text}");
        }
    }

    #[test]
    fn a_cursor_comes_back_as_it_went_out() {
        let cursor = Cursor {
            time: Micros(-5),
            event_id: Uuid::from_u128(7),
        };
        assert_eq!(
            read(&[("cursor", &cursor.encode())]).unwrap().start,
            Start::After(cursor)
        );
        assert_eq!(wrong(&[("cursor", "xyz")]), ["cursor"]);
        assert_eq!(
            wrong(&[("cursor", &cursor.encode()), ("offset", "5")]),
            ["cursor"]
        );
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        assert_eq!(
            wrong(&[
                ("event_categorie", "gateway"),
                ("event_outcome", "good"),
                ("limit", "1001"),
                ("offset", "-1"),
                ("since", "1h"),
                ("until", "2h"),
                ("detail_key", "a"),
                ("severity", "a"),
                ("severity", "b"),
            ]),
            [
                "event_outcome",
                "severity",
                "detail_value",
                "since",
                "limit",
                "offset",
                "event_categorie"
            ]
            .map(str::to_owned)
            .into_iter()
            .collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_detail_is_looked_for_as_text_and_as_what_it_reads_as() {
        let documents = |key: &str, value: &str| {
            read(&[("detail_key", key), ("detail_value", value)])
                .unwrap()
                .filter
                .detail
                .unwrap()
                .documents()
        };
        assert_eq!(documents("a.b", "5"), [r#"{"a":{"b":"5"}}"#, r#"{"a":{"b":5}}"#]);
        assert_eq!(documents("a", "true"), [r#"{"a":"true"}"#, r#"{"a":true}"#]);
        assert_eq!(documents("a", "it's \"x\""), [r#"{"a":"it's \"x\""}"#]);
        assert_eq!(documents("a", "[1]"), [r#"{"a":"[1]"}"#]);
    }
}
