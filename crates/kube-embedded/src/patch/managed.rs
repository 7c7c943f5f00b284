//! Who manages which field, and server-side apply, which decides by it.

use serde_json::{Value, json};

use super::fieldset::{FieldSet, Shape, merge};
use crate::object;
use crate::resources::Resource;
use crate::status::{Cause, Status};

/// Fields that nobody manages.
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
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    time: Value,
    subresource: String,
    fields: FieldSet,
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

    /// As conflicts call it.
    fn shown(&self) -> String {
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

fn entries_of(object: &Value) -> Vec<Entry> {
    let list = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    list.into_iter().flatten().map(Entry::read).collect()
}

/// In the order of the real server: applied ones first, then by time and name.
fn put(object: &mut Value, entries: &[Entry]) {
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

fn strip(mut fields: FieldSet) -> FieldSet {
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

/// Without what no one manages: two of these are the same when a write changes nothing.
fn bare(object: &Value) -> Value {
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

/// Records the fields that a write changed as its manager's. `current` is the object before it.
///
/// A client that sends `managedFields: [{}]` or an empty list takes all entries away, as on the real server.
pub fn record_update(
    resource: &Resource,
    object: &mut Value,
    current: Option<&Value>,
    manager: &str,
    subresource: &str,
) {
    let sent = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let reset = sent.is_some_and(|list| list.is_empty() || list.iter().all(|entry| *entry == json!({})));
    let mut entries = match (current, reset) {
        (_, true) => Vec::new(),
        (Some(current), false) => entries_of(current),
        (None, false) => entries_of(object)
            .into_iter()
            .filter(|entry| entry.operation == "Apply")
            .collect(),
    };
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
        // Made by apply: what it named is its manager's, defaults are nobody's.
        put(object, &entries);
        return;
    }
    let removed = clean.as_ref().map(|clean| {
        let mut all = strip(FieldSet::all(&shape, clean));
        all.subtract(&strip(FieldSet::all(&shape, &bare(object))));
        all
    });
    for entry in &mut entries {
        if !entry.is(manager, "Update", &api_version, subresource) {
            entry.fields.subtract(&changed);
        }
        if let Some(removed) = &removed {
            entry.fields.subtract(removed);
        }
    }
    if !changed.is_empty() {
        let now = Value::from(object::now());
        match entries
            .iter_mut()
            .find(|entry| entry.is(manager, "Update", &api_version, subresource))
        {
            Some(entry) => {
                entry.fields.union(&changed);
                entry.time = now;
            }
            None => entries.push(Entry {
                manager: manager.to_owned(),
                operation: "Update".to_owned(),
                api_version,
                time: now,
                subresource: subresource.to_owned(),
                fields: changed,
            }),
        }
    }
    entries.retain(|entry| !entry.fields.is_empty());
    put(object, &entries);
}

/// Records the fields of an applied object that is new.
pub fn record_applied(
    resource: &Resource,
    object: &mut Value,
    wanted: &Value,
    manager: &str,
    subresource: &str,
) {
    let entry = applied_entry(resource, wanted, manager, subresource);
    put(
        object,
        if entry.fields.is_empty() {
            &[]
        } else {
            std::slice::from_ref(&entry)
        },
    );
}

fn applied_entry(resource: &Resource, wanted: &Value, manager: &str, subresource: &str) -> Entry {
    let mut fields = strip(FieldSet::named(&Shape::of(resource), wanted));
    // What a subresource does not write, or another writes, is not managed by it.
    if subresource == "status" {
        fields.children.retain(|element, _| element == "f:status");
    } else if resource.has_status() {
        fields.children.remove("f:status");
    }
    Entry {
        manager: manager.to_owned(),
        operation: "Apply".to_owned(),
        api_version: resource.api_version(),
        time: object::now().into(),
        subresource: subresource.to_owned(),
        fields,
    }
}

/// Checks what was applied, and completes its identity.
///
/// # Errors
/// 400.
pub fn check_applied(
    resource: &Resource,
    name: &str,
    namespace: &str,
    wanted: &mut Value,
) -> Result<(), Status> {
    if !wanted.is_object() {
        return Err(Status::bad_request("error decoding YAML: not an object"));
    }
    let (sent_version, kind) = (object::text(wanted, "/apiVersion"), object::text(wanted, "/kind"));
    if sent_version != resource.api_version() || kind != resource.kind {
        let (group, version) = sent_version.split_once('/').unwrap_or(("", sent_version));
        return Err(Status::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={kind}"
        )));
    }
    if wanted
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let metadata = object::metadata_mut(wanted);
    metadata.entry("name").or_insert_with(|| name.into());
    if !namespace.is_empty() {
        metadata.entry("namespace").or_insert_with(|| namespace.into());
    }
    Ok(())
}

/// The object with what was applied.
///
/// # Errors
/// 409 with one cause a field that another manager holds, unless `force`.
pub fn apply(
    resource: &Resource,
    current: &Value,
    wanted: &Value,
    manager: &str,
    force: bool,
    subresource: &str,
) -> Result<Value, Status> {
    let shape = Shape::of(resource);
    let live = bare(current);
    let mut own = applied_entry(resource, wanted, manager, subresource);
    let mut entries = entries_of(current);
    let mut merged = live.clone();
    merge(&shape, &mut merged, &part_of(resource, wanted, subresource));
    let changed = strip(FieldSet::changed(&shape, Some(&live), &merged, false));
    let is_own = |entry: &Entry| {
        entry.manager == manager && entry.operation == "Apply" && entry.subresource == subresource
    };
    let conflicts: Vec<(String, String)> = entries
        .iter()
        .filter(|entry| !is_own(entry))
        .flat_map(|entry| {
            let paths = entry.fields.intersection(&changed).paths("");
            paths
                .into_iter()
                .map(|path| (entry.shown(), path))
                .collect::<Vec<_>>()
        })
        .collect();
    if !conflicts.is_empty() && !force {
        return Err(conflict(&conflicts));
    }
    let previous = entries.iter().find(|entry| is_own(entry)).cloned();
    entries.retain(|entry| !is_own(entry));
    for entry in &mut entries {
        entry.fields.subtract(&changed);
    }
    if let Some(previous) = &previous {
        // What was applied before and no longer is goes, unless another holds it too.
        let mut lost = previous.fields.clone();
        lost.subtract(&own.fields);
        entries.iter().for_each(|entry| lost.subtract(&entry.fields));
        lost.remove_from(&shape, &mut merged);
        if previous.fields == own.fields && merged == live {
            own.time = previous.time.clone();
        }
    }
    entries.push(own);
    entries.retain(|entry| !entry.fields.is_empty());
    // A version that was sent is a condition, which is checked where the object is written.
    let version = object::meta(wanted, "resourceVersion");
    if !version.is_empty() {
        object::metadata_mut(&mut merged).insert("resourceVersion".into(), version.into());
    }
    put(&mut merged, &entries);
    Ok(merged)
}

/// What of an applied object a subresource takes.
fn part_of(resource: &Resource, wanted: &Value, subresource: &str) -> Value {
    let mut part = wanted.clone();
    let Some(map) = part.as_object_mut() else {
        return part;
    };
    if subresource == "status" {
        map.retain(|key, _| key == "status");
    } else {
        if resource.has_status() {
            map.remove("status");
        }
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
    }
    part
}

fn conflict(conflicts: &[(String, String)]) -> Status {
    let detail = match conflicts {
        [(manager, path)] => format!("conflict with {manager}: {path}"),
        many => {
            let mut lines = Vec::new();
            let mut last = "";
            for (manager, path) in many {
                if manager != last {
                    lines.push(format!("conflicts with {manager}:"));
                    last = manager;
                }
                lines.push(format!("- {path}"));
            }
            lines.join("\n")
        }
    };
    let plural = if conflicts.len() == 1 { "" } else { "s" };
    let message = format!("Apply failed with {} conflict{plural}: {detail}", conflicts.len());
    conflicts.iter().fold(
        Status::plain(409, "Conflict", message),
        |status, (manager, path)| {
            let message = format!("conflict with {manager}");
            status.cause(Cause {
                reason: "FieldManagerConflict",
                message,
                field: path.clone(),
            })
        },
    )
}
