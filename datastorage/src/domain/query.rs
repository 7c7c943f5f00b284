//! The query parameters of a list of events, validated completely.

use uuid::Uuid;
use wire::audit::{EventCategory, EventOutcome};

use super::fields::{Invalid, Reason, shown};
use super::parameters::Parameters;
use super::time::Micros;
use super::time::{DayEdge, moment};

/// Maximum `limit`.
pub(crate) const MAX_EVENTS_OF_A_PAGE: i64 = 1000;
/// Default `limit`.
const EVENTS_OF_A_PAGE: i64 = 50;
/// Maximum offset: the database walks over everything that is skipped.
const MAX_OFFSET: i64 = 1_000_000;
/// Maximum number of keys in `detail_key`: an event's data is at most one level deeper.
const DETAIL_LEVELS: usize = 9;

/// A filter of events; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    pub(crate) correlation_id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) event_category: Option<EventCategory>,
    pub(crate) event_outcome: Option<EventOutcome>,
    pub(crate) severity: Option<String>,
    pub(crate) since: Option<Micros>,
    /// Inclusive.
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
    /// The JSON documents of which an event's data must contain one: the value as a string, and as the number,
    /// boolean or null that it can be parsed as.
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

/// The last event of a page: the next page begins after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) time: Micros,
    pub(crate) event_id: Uuid,
}

impl Cursor {
    /// 48 hex digits, opaque to clients.
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
        let time = Micros(i64::from_be_bytes(time.try_into().ok()?));
        // Any hex digits can be sent.
        time.is_representable().then_some(())?;
        Some(Self {
            time,
            event_id: Uuid::from_slice(id).ok()?,
        })
    }
}

/// The beginning of a page.
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
    /// Reads filter, limit and beginning. Returns all errors at once.
    pub(crate) fn read(pairs: Vec<(String, String)>, now: Micros) -> Result<Self, Vec<Invalid>> {
        let mut parameters = Parameters::new(pairs);
        let filter = Filter::take(&mut parameters, now);
        let limit = parameters
            .integer("limit", 1, MAX_EVENTS_OF_A_PAGE)
            .unwrap_or(EVENTS_OF_A_PAGE);
        let offset = parameters.integer("offset", 0, MAX_OFFSET);
        let cursor = parameters.parsed("cursor", Cursor::decode, "the next_cursor of a response");
        let start = match (offset, cursor) {
            (Some(_), Some(_)) => {
                parameters.reject(
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
    /// Reads a filter only, for an export.
    pub(crate) fn read(pairs: Vec<(String, String)>, now: Micros) -> Result<Self, Vec<Invalid>> {
        let mut parameters = Parameters::new(pairs);
        let filter = Self::take(&mut parameters, now);
        parameters.finish()?;
        Ok(filter)
    }

    fn take(parameters: &mut Parameters, now: Micros) -> Self {
        const WHEN: &str = "a time such as 2026-01-31T12:00:00Z, a date, or a time span before now such as 24h, 90m, 7d; years 1 to 9999";
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
            parameters.reject("since", Reason::Range, "is after until");
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
                parameters.reject("detail_key", Reason::Format, message);
            }
            Some(Detail { path, value })
        }
        (Some(_), None) => {
            parameters.reject("detail_value", Reason::Required, "is required with detail_key");
            None
        }
        (None, Some(_)) => {
            parameters.reject("detail_key", Reason::Required, "is required with detail_value");
            None
        }
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests;
