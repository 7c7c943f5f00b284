//! Server-side apply: a manager's fields get its values, unless another manager owns them.

use serde_json::Value;

use super::fieldset::{FieldSet, Shape, merge};
use super::managed::{Entry, bare, entries_of, put, strip};
use crate::object;
use crate::resources::Resource;
use crate::status::{Cause, Status};

/// Records the managers of a new applied object.
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
    // A field that the subresource does not write, or another one writes, is not owned.
    if subresource == "status" {
        let has_metadata = !resource.custom;
        fields
            .children
            .retain(|element, _| element == "f:status" || (has_metadata && element == "f:metadata"));
        if &*resource.table == "deployments.apps" {
            fields.drop_path(&["f:metadata", "f:labels"]);
        }
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

/// Checks the applied object, and completes its identity.
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

/// Merges the applied object.
///
/// # Errors
/// 409 with one cause per field of another manager, unless `force`.
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
        // A field that is no longer applied is removed, unless another manager owns it too.
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
    // A resourceVersion in the patch is a precondition, checked when the object is written.
    let version = object::meta(wanted, "resourceVersion");
    if !version.is_empty() {
        object::metadata_mut(&mut merged).insert("resourceVersion".into(), version.into());
    }
    put(&mut merged, &entries);
    Ok(merged)
}

/// The fields of an applied object that a subresource accepts.
fn part_of(resource: &Resource, wanted: &Value, subresource: &str) -> Value {
    let mut part = wanted.clone();
    let Some(map) = part.as_object_mut() else {
        return part;
    };
    if subresource == "status" {
        // Only built-in kinds accept metadata with a status.
        map.retain(|key, _| key == "status" || (key == "metadata" && !resource.custom));
    } else if resource.has_status() {
        map.remove("status");
    }
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
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
