//! Field managers: `metadata.managedFields`, and how writes other than apply change it.

use serde_json::{Value, json};

use super::fieldset::{FieldSet, Shape};
use crate::object;
use crate::resources::Resource;

/// Fields that have no manager.
const STRIPPED: &[&[&str]] = &[
    &["f:apiVersion"],
    &["f:kind"],
    &["f:metadata", "f:name"],
    &["f:metadata", "f:namespace"],
    &["f:metadata", "f:creationTimestamp"],
    &["f:metadata", "f:selfLink"],
    &["f:metadata", "f:uid"],
    &["f:metadata", "f:generation"],
    &["f:metadata", "f:managedFields"],
    &["f:metadata", "f:resourceVersion"],
    &["f:metadata", "f:deletionTimestamp"],
    &["f:metadata", "f:deletionGracePeriodSeconds"],
];

/// One entry of `metadata.managedFields`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    /// `Apply` or `Update`.
    pub(super) operation: String,
    pub(super) api_version: String,
    pub(super) time: Value,
    pub(super) subresource: String,
    pub(super) fields: FieldSet,
}

impl Entry {
    fn read(value: &Value) -> Self {
        let text = |pointer: &str| object::text(value, pointer).to_owned();
        Self {
            manager: text("/manager"),
            operation: text("/operation"),
            api_version: text("/apiVersion"),
            time: value["time"].clone(),
            subresource: text("/subresource"),
            fields: FieldSet::from_value(&value["fieldsV1"]),
        }
    }

    fn write(&self) -> Value {
        let mut value = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": self.fields.to_value(),
        });
        if !self.subresource.is_empty() {
            value["subresource"] = self.subresource.as_str().into();
        }
        value
    }

    fn is(&self, manager: &str, operation: &str, api_version: &str, subresource: &str) -> bool {
        self.manager == manager
            && self.operation == operation
            && self.subresource == subresource
            && self.api_version == api_version
    }

    /// The name in conflict messages.
    pub(super) fn shown(&self) -> String {
        let mut shown = format!("\"{}\"", self.manager);
        if !self.subresource.is_empty() {
            shown.push_str(&format!(" with subresource \"{}\"", self.subresource));
        }
        if self.operation == "Update" {
            shown.push_str(&format!(" using {}", self.api_version));
        }
        shown
    }
}

/// The managers of an object's fields.
pub(super) fn entries_of(object: &Value) -> Vec<Entry> {
    object::items(object, "/metadata/managedFields")
        .map(Entry::read)
        .collect()
}

/// Writes the managers in the order of the real server: apply first, then by time and name.
pub(super) fn put(object: &mut Value, entries: &[Entry]) {
    let mut entries = entries.to_vec();
    entries.sort_by_cached_key(|entry| {
        (
            entry.operation.clone(),
            entry.time.to_string(),
            entry.manager.clone(),
        )
    });
    let metadata = object::metadata_mut(object);
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.iter().map(Entry::write).collect());
    }
}

/// The object without the fields that have no manager.
pub(super) fn strip(mut fields: FieldSet) -> FieldSet {
    STRIPPED.iter().for_each(|path| fields.drop_path(path));
    if let Some(metadata) = fields.children.get_mut("f:metadata") {
        metadata.member = false;
        if metadata.is_empty() {
            fields.children.remove("f:metadata");
        }
    }
    fields.member = false;
    fields
}

/// The object without unmanaged fields: equal ones mean that a write changes nothing.
pub(super) fn bare(object: &Value) -> Value {
    let mut bare = object.clone();
    let metadata = object::metadata_mut(&mut bare);
    metadata.remove("managedFields");
    metadata.remove("resourceVersion");
    bare
}

/// Whether a write changes nothing.
#[must_use]
pub fn same(object: &Value, current: &Value) -> bool {
    let fields = |value: &Value| value.pointer("/metadata/managedFields").cloned();
    bare(object) == bare(current) && (fields(object) == fields(current) || only_times_differ(object, current))
}

fn only_times_differ(object: &Value, current: &Value) -> bool {
    let timeless = |value: &Value| -> Vec<Entry> {
        entries_of(value)
            .into_iter()
            .map(|entry| Entry {
                time: Value::Null,
                ..entry
            })
            .collect()
    };
    timeless(object) == timeless(current)
}

/// Records the fields that a write changed. `current` is the object before it.
pub fn record_update(
    resource: &Resource,
    object: &mut Value,
    current: Option<&Value>,
    manager: &str,
    subresource: &str,
) {
    let mut entries = entries_before(object, current);
    object::metadata_mut(object).remove("managedFields");
    let shape = Shape::of(resource);
    let clean = current.map(bare);
    let changed = strip(FieldSet::changed(
        &shape,
        clean.as_ref(),
        &bare(object),
        current.is_none(),
    ));
    let api_version = resource.api_version();
    if current.is_none() && !entries.is_empty() {
        // Created by apply: the applied fields are owned, defaults are not.
        put(object, &entries);
        return;
    }
    let removed = clean.as_ref().map(|clean| {
        let mut all = strip(FieldSet::all(&shape, clean));
        all.subtract(&strip(FieldSet::all(&shape, &bare(object))));
        all
    });
    let is_own = |entry: &Entry| entry.is(manager, "Update", &api_version, subresource);
    for entry in &mut entries {
        if !is_own(entry) {
            entry.fields.subtract(&changed);
        }
        if let Some(removed) = &removed {
            entry.fields.subtract(removed);
        }
    }
    if !changed.is_empty() {
        let now = Value::from(object::now());
        match entries.iter_mut().find(|entry| is_own(entry)) {
            Some(entry) => {
                entry.fields.union(&changed);
                entry.time = now;
            }
            None => entries.push(Entry {
                manager: manager.to_owned(),
                operation: "Update".to_owned(),
                api_version: api_version.clone(),
                time: now,
                subresource: subresource.to_owned(),
                fields: changed,
            }),
        }
    }
    entries.retain(|entry| !entry.fields.is_empty());
    put(object, &entries);
}

/// The managers before a write. The object must still have the `managedFields` that were sent.
///
/// A client that sends `managedFields: [{}]` or an empty list removes all entries, as on the real server.
fn entries_before(object: &Value, current: Option<&Value>) -> Vec<Entry> {
    let sent = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let reset = sent.is_some_and(|list| list.is_empty() || list.iter().all(|entry| *entry == json!({})));
    match (current, reset) {
        (_, true) => Vec::new(),
        (Some(current), false) => entries_of(current),
        (None, false) => entries_of(object)
            .into_iter()
            .filter(|entry| entry.operation == "Apply")
            .collect(),
    }
}
