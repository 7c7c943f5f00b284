//! Decodes request bodies into objects of a resource.

use serde_json::Value;

use super::Call;
use crate::json;
use crate::object;
use crate::protobuf;
use crate::resources::{builtin, names};
use crate::schema::{self, Schema};
use crate::status::{Cause, Status};

/// A decoded object with its warnings.
pub(super) struct Decoded {
    pub(super) object: Value,
    pub(super) warnings: Vec<String>,
}

/// Decodes the body and checks that it is an object of the resource.
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

/// The error of a patched object: a value of a wrong type makes the patch invalid.
pub(super) fn of_patch(status: Status, call: &Call, patched: &Value) -> Status {
    let kind = expected_kind(call);
    match status
        .message
        .split_once(&format!(" cannot be handled as a {kind}: "))
    {
        Some((_, what)) if !call.resource.custom && !what.starts_with("strict decoding error") => {
            let cause = Cause::invalid("patch", &names::quoted(&patched.to_string()), what);
            Status::invalid("", "", "", vec![cause])
        }
        _ => status,
    }
}

fn expected_kind(call: &Call) -> String {
    let subresource = call.resource.subresource(&call.subresource);
    subresource.map_or_else(
        || call.resource.kind.clone(),
        |subresource| subresource.kind.clone(),
    )
}

/// Decodes the body by its content type; also returns warnings about duplicate fields.
fn read(call: &Call, kind: &str) -> Result<(Value, Vec<String>), Status> {
    let media = call.content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "" | "application/json" | "*/*" => read_json(call, kind),
        "application/yaml" => {
            let text = String::from_utf8_lossy(&call.body);
            let parsed = serde_saphyr::from_str(&text);
            let parsed: Value =
                parsed.map_err(|error| Status::bad_request(format!("error parsing YAML: {error}")))?;
            Ok((parsed, Vec::new()))
        }
        protobuf::MEDIA_TYPE if !call.resource.custom || call.subresource == "scale" => {
            let decoded = protobuf::decode(&call.body);
            let decoded = decoded.map_err(|error| Status::bad_request(error.message(kind, &call.body)))?;
            Ok((decoded, Vec::new()))
        }
        _ => {
            let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
            Err(Status::unsupported_media_type(accepted))
        }
    }
}

fn read_json(call: &Call, kind: &str) -> Result<(Value, Vec<String>), Status> {
    let body = &call.body[..];
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
    let parsed = json::parse(body);
    let (object, duplicates) = parsed
        .map_err(|error| unrecognized(&format!("couldn't get version/kind; json parse error: {error}")))?;
    if call.resource.custom
        && call.subresource != "scale"
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

/// Checks kind and version: those of the resource, or absent.
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

/// Drops fields that are not in the schema, and returns their paths; values of another type than
/// the schema's are errors.
fn unknown_fields(call: &Call, object: &mut Value) -> Result<Vec<String>, Status> {
    let resource = &call.resource;
    let mut unknown = Vec::new();
    if let (true, Some(metadata)) = (resource.custom, builtin::metadata_schema()) {
        schema::check_metadata(&metadata, object, &resource.kind, &resource.version)?;
        if let Some(value) = object.get_mut("metadata") {
            unknown.extend(unknown_metadata(&metadata, value));
        }
    }
    // Some subresources have a kind of their own, which is built in.
    let own = resource
        .subresource(&call.subresource)
        .filter(|subresource| subresource.kind != resource.kind);
    let (shape, kind, version) = match own {
        Some(own) if own.version.is_empty() => (
            builtin::kind_in(&resource.group, &own.kind),
            &own.kind,
            &resource.version,
        ),
        Some(own) => (builtin::by_kind(&own.group, &own.kind), &own.kind, &own.version),
        None => (resource.schema.clone(), &resource.kind, &resource.version),
    };
    let Some(shape) = shape else { return Ok(Vec::new()) };
    if own.is_some() || !resource.custom {
        schema::check_types(&shape, object, kind, version)?;
        if let (Some(metadata), Some(value)) = (builtin::metadata_schema(), object.get_mut("metadata")) {
            unknown.extend(unknown_metadata(&metadata, value));
        }
    }
    unknown.extend(schema::prune(&shape, object));
    if let (true, Some(metadata)) = (own.is_none() && resource.custom, builtin::metadata_schema()) {
        let dropped = schema::embedded::coerce(&shape, &metadata, object, "");
        unknown.extend(dropped.map_err(|what| {
            let (kind, version) = (&resource.kind, &resource.version);
            Status::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: {what}"
            ))
        })?);
    }
    Ok(unknown
        .into_iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect())
}

/// Drops unknown fields of an object's metadata; returns their paths.
fn unknown_metadata(shape: &Schema, metadata: &mut Value) -> Vec<String> {
    let paths = schema::prune(shape, metadata).into_iter();
    paths.map(|path| format!("metadata.{path}")).collect()
}

/// Applies `fieldValidation`: warnings become errors, stay warnings, or are dropped.
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
