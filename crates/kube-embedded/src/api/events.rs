//! Events are served in two groups, with different field names.

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

/// Converts an event of the core group to `events.k8s.io`.
pub(super) fn to_new(object: &mut Value) {
    rename(object, EVENT_FIELDS.iter().copied());
}

/// Converts an event of `events.k8s.io` to the core group.
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
