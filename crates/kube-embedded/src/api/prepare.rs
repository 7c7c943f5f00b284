//! From what a client sent to what is stored.

use serde_json::{Map, Value, json};

use super::{Call, checks, events, kinds};
use crate::object;
use crate::protobuf;
use crate::resources::names;
use crate::resources::{Resource, builtin};
use crate::schema;
use crate::status::{Cause, Status};

/// An object that was sent, with complaints that are no failures.
pub(super) struct Decoded {
    pub(super) object: Value,
    pub(super) warnings: Vec<String>,
}

/// Reads the body and checks that it is an object of the resource.
pub(super) fn decode(call: &Call) -> Result<Decoded, Status> {
    let kind = expected_kind(call);
    let (mut object, duplicates) = read(call, &kind)?;
    check_identity(call, &kind, &mut object)?;
    let mut warnings = duplicates;
    warnings.extend(unknown_fields(call, &mut object)?);
    let warnings = enforce(call, warnings)?;
    Ok(Decoded { object, warnings })
}

/// Drops unknown fields of a patched object.
pub(super) fn clean(call: &Call, object: &mut Value) -> Result<Vec<String>, Status> {
    let unknown = unknown_fields(call, object)?;
    enforce(call, unknown)
}

fn expected_kind(call: &Call) -> String {
    let subresource = call.resource.subresource(&call.subresource);
    subresource.map_or_else(
        || call.resource.kind.clone(),
        |subresource| subresource.kind.clone(),
    )
}

fn read(call: &Call, kind: &str) -> Result<(Value, Vec<String>), Status> {
    let body = &call.body[..];
    let media = call.content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "" | "application/json" | "*/*" => {}
        "application/yaml" => {
            let text = String::from_utf8_lossy(body);
            let parsed = serde_saphyr::from_str(&text);
            let parsed: Value =
                parsed.map_err(|error| Status::bad_request(format!("error parsing YAML: {error}")))?;
            return Ok((parsed, Vec::new()));
        }
        protobuf::MEDIA_TYPE if !call.resource.custom => {
            let decoded = protobuf::decode(body).map_err(|what| {
                Status::bad_request(format!(
                    "the object provided is unrecognized (must be of type {kind}): {what}"
                ))
            })?;
            return Ok((decoded, Vec::new()));
        }
        _ => {
            let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
            return Err(Status::unsupported_media_type(accepted));
        }
    }
    let unrecognized = |why: &str| {
        let text = String::from_utf8_lossy(body);
        let shown = if text.is_empty() {
            "<empty>".into()
        } else {
            excerpt(&text)
        };
        let message =
            format!("the object provided is unrecognized (must be of type {kind}): {why} ({shown})");
        Status::bad_request(message)
    };
    let parsed = crate::http::json::parse(body);
    let (object, duplicates) = parsed
        .map_err(|error| unrecognized(&format!("couldn't get version/kind; json parse error: {error}")))?;
    if call.resource.custom
        && object
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .is_empty()
    {
        return Err(unrecognized(&format!(
            "Object 'Kind' is missing in '{}'",
            String::from_utf8_lossy(body)
        )));
    }
    if !object.is_object() {
        return Err(unrecognized(
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct",
        ));
    }
    let duplicates = duplicates
        .into_iter()
        .map(|path| format!("duplicate field \"{path}\""))
        .collect();
    Ok((object, duplicates))
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(30) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Kind and version: those of the resource, or absent.
fn check_identity(call: &Call, kind: &str, object: &mut Value) -> Result<(), Status> {
    let resource = &call.resource;
    let wanted = match resource.subresource(&call.subresource) {
        Some(subresource) if !subresource.version.is_empty() => {
            crate::resources::group_version(&subresource.group, &subresource.version)
        }
        _ => resource.api_version(),
    };
    let sent_version = object::text(object, "/apiVersion").to_owned();
    let sent_kind = object::text(object, "/kind").to_owned();
    if resource.custom && !sent_version.is_empty() && sent_version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({sent_version}) does not match the expected API version ({wanted})"
        )));
    }
    if resource.custom && sent_kind != kind {
        let name = object::meta(object, "name");
        let cause = Cause::invalid("kind", &names::quoted(&sent_kind), &format!("must be {kind}"));
        return Err(Status::invalid(&resource.group, &sent_kind, name, vec![cause]));
    }
    if (!sent_version.is_empty() && sent_version != wanted) || (!sent_kind.is_empty() && sent_kind != kind) {
        let version = sent_version.rsplit('/').next().unwrap_or_default();
        let package = if resource.group.is_empty() {
            "core"
        } else {
            resource.group.split('.').next().unwrap_or_default()
        };
        let message = format!(
            "{sent_kind} in version \"{version}\" cannot be handled as a {kind}: converting ({version}.{sent_kind}) to ({package}.{kind}): unknown conversion"
        );
        return Err(Status::bad_request(message));
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), wanted.into());
        map.insert("kind".into(), kind.into());
    }
    let namespace = object::meta(object, "namespace");
    if !namespace.is_empty() && namespace != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

fn unknown_fields(call: &Call, object: &mut Value) -> Result<Vec<String>, Status> {
    let resource = &call.resource;
    let mut unknown = Vec::new();
    if let (true, Some(metadata)) = (resource.custom, builtin::metadata_schema()) {
        schema::check_metadata(&metadata, object, &resource.kind, &resource.version)?;
        if let Some(value) = object.get_mut("metadata") {
            unknown.extend(
                schema::prune(&metadata, value)
                    .into_iter()
                    .map(|path| format!("metadata.{path}")),
            );
        }
    }
    let name = resource
        .subresource(&call.subresource)
        .filter(|subresource| !subresource.version.is_empty());
    let shape = match name {
        Some(subresource) => builtin::by_kind(&subresource.group, &subresource.kind),
        None => resource.schema.clone(),
    };
    let Some(shape) = shape else { return Ok(Vec::new()) };
    if !resource.custom {
        schema::check_types(&shape, object, &resource.kind, &resource.version)?;
        if let (Some(metadata), Some(value)) = (builtin::metadata_schema(), object.get_mut("metadata")) {
            unknown.extend(
                schema::prune(&metadata, value)
                    .into_iter()
                    .map(|path| format!("metadata.{path}")),
            );
        }
    }
    unknown.extend(schema::prune(&shape, object));
    Ok(unknown
        .into_iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect())
}

/// `fieldValidation`: complaints are failures, warnings or nothing.
fn enforce(call: &Call, complaints: Vec<String>) -> Result<Vec<String>, Status> {
    match call.query.get("fieldValidation") {
        "Ignore" => Ok(Vec::new()),
        "Strict" if !complaints.is_empty() => {
            let (kind, version) = (&call.resource.kind, &call.resource.version);
            let list = complaints.join(", ");
            Err(Status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {list}"
            )))
        }
        "" | "Warn" | "Strict" => Ok(complaints),
        other => {
            let supported = ["\"\"", "\"Ignore\"", "\"Strict\"", "\"Warn\""].map(ToOwned::to_owned);
            let cause = Cause::not_supported("fieldValidation", &names::quoted(other), &supported);
            Err(Status::invalid("meta.k8s.io", "CreateOptions", "", vec![cause]))
        }
    }
}

/// Metadata of a new object, and what clients may not set of it.
pub(super) fn new_object(call: &Call, object: &mut Value) -> Result<(), Status> {
    let resource = &call.resource;
    let namespaced = resource.namespaced;
    let metadata = object::metadata_mut(object);
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    metadata.insert("creationTimestamp".into(), object::now().into());
    if namespaced {
        metadata.insert("namespace".into(), call.namespace.clone().into());
    } else {
        metadata.remove("namespace");
    }
    if resource.custom || kinds::has_generation(resource) {
        metadata.insert("generation".into(), 1.into());
    }
    if resource.has_status()
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    Ok(())
}

/// All checks of a new object.
pub(super) fn check_new(call: &Call, object: &Value) -> Result<(), Status> {
    let mut causes = names::check_metadata(
        object,
        names::rule_of(&call.resource.group, &call.resource.plural),
    );
    causes.extend(checks(call, object, None));
    failed(call, object, causes)
}

fn checks(call: &Call, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let resource = &call.resource;
    let Some(shape) = &resource.schema else {
        return Vec::new();
    };
    if !resource.custom {
        return checks::check(resource, shape, object, old);
    }
    let mut causes = schema::validate(shape, object, "");
    if causes.is_empty() {
        return schema::rules::check(shape, object, old, "");
    }
    const BLOCKING: &[&str] = &[
        "FieldValueTypeInvalid",
        "FieldValueRequired",
        "FieldValueNotSupported",
        "FieldValueTooLong",
        "FieldValueTooMany",
    ];
    if has_rules(resource) && causes.iter().any(|cause| BLOCKING.contains(&cause.reason)) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        causes.push(Cause::invalid("<nil>", "\"null\"", detail));
    }
    causes
}

fn has_rules(resource: &Resource) -> bool {
    fn inside(document: &Value) -> bool {
        match document {
            Value::Object(map) => map.contains_key("x-kubernetes-validations") || map.values().any(inside),
            Value::Array(list) => list.iter().any(inside),
            _ => false,
        }
    }
    inside(&resource.document)
}

fn failed(call: &Call, object: &Value, causes: Vec<Cause>) -> Result<(), Status> {
    if causes.is_empty() {
        return Ok(());
    }
    let resource = &call.resource;
    Err(Status::invalid(
        &resource.group,
        &resource.kind,
        object::meta(object, "name"),
        causes,
    ))
}

/// What a write can't change, taken from the object as it was.
pub(super) fn replacement(call: &Call, current: &Value, object: &mut Value) {
    let resource = &call.resource;
    let part = call.subresource.as_str();
    if part == "status" {
        let status = object.get("status").cloned();
        let managed = object.pointer("/metadata/managedFields").cloned();
        let mut replaced = current.clone();
        if let Some(map) = replaced.as_object_mut() {
            map.remove("status");
            map.extend(status.map(|status| ("status".to_owned(), status)));
        }
        if let Some(managed) = managed {
            object::metadata_mut(&mut replaced).insert("managedFields".into(), managed);
        }
        *object = replaced;
        return;
    }
    if let Some(map) = object.as_object_mut() {
        if resource.has_status() {
            map.remove("status");
            map.extend(
                current
                    .get("status")
                    .map(|status| ("status".to_owned(), status.clone())),
            );
        }
        map.insert("apiVersion".into(), resource.api_version().into());
        map.insert("kind".into(), resource.kind.clone().into());
    }
    let old = current
        .get("metadata")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let metadata = object::metadata_mut(object);
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
    ] {
        metadata.remove(key);
        metadata.extend(old.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    if counts_as_change(resource, current, object)
        && let Some(generation) = old.get("generation").and_then(Value::as_i64)
    {
        object::metadata_mut(object).insert("generation".into(), (generation + 1).into());
    }
}

/// Whether a generation passes: not for metadata, and not for a status that is written apart.
fn counts_as_change(resource: &Resource, current: &Value, object: &Value) -> bool {
    let parts = |value: &Value| -> Map<String, Value> {
        let map = value.as_object().cloned().unwrap_or_default();
        let status_counts = resource.custom && !resource.has_status();
        let ignored = |key: &str| {
            matches!(key, "metadata" | "apiVersion" | "kind") || (key == "status" && !status_counts)
        };
        map.into_iter().filter(|(key, _)| !ignored(key)).collect()
    };
    parts(current) != parts(object)
}

/// All checks of a changed object.
pub(super) fn check_replacement(call: &Call, current: &Value, object: &Value) -> Result<(), Status> {
    let mut causes = names::check_metadata(object, names::NameRule::PathSegment);
    if object::is_deleting(current) {
        let old = object::finalizers(current);
        let added: Vec<&str> = object::finalizers(object)
            .into_iter()
            .filter(|name| !old.contains(name))
            .collect();
        if !added.is_empty() {
            let shown = format!(
                "[]string{{{}}}",
                added
                    .iter()
                    .map(|name| names::quoted(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            causes.push(Cause::forbidden("metadata.finalizers", &format!("no new finalizers can be added if the object is being deleted, found new finalizers {shown}")));
        }
    }
    causes.extend(checks(call, object, Some(current)));
    failed(call, object, causes)
}

/// The object in the version in which its table keeps it.
pub(super) fn to_storage(resource: &Resource, mut object: Value) -> Value {
    if resource.group == "events.k8s.io" {
        events::to_old(&mut object);
        object["apiVersion"] = json!("v1");
    } else if resource.version != resource.storage_version {
        object["apiVersion"] = json!(crate::resources::group_version(
            &resource.group,
            &resource.storage_version
        ));
    }
    object
}
