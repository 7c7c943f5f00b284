//! Events stand in two groups, with other names for their fields.

use serde_json::Value;

/// Names of an event's fields in the core group and in its own.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// An event of the core group as its own group has it.
pub(super) fn to_new(object: &mut Value) {
    rename(object, EVENT_FIELDS.iter().copied());
}

/// The way back.
pub(crate) fn to_old(object: &mut Value) {
    rename(object, EVENT_FIELDS.iter().map(|(old, new)| (*new, *old)));
}

fn rename<'a>(object: &mut Value, names: impl Iterator<Item = (&'a str, &'a str)>) {
    let Some(map) = object.as_object_mut() else { return };
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}
