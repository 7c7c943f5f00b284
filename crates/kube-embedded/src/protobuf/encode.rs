//! Objects in the binary form, for clients that accept no other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{FIELDS, MAGIC, short, wire_type};
use crate::object::text;
use crate::resources::builtin;
use crate::schema::{Additional, Schema, Type};

/// Encodes an object of a built-in kind; `None` for a type without a binary form.
#[must_use]
pub fn encode(object: &Value) -> Option<Vec<u8>> {
    let (api_version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    let (group, _) = crate::api::split_api_version(api_version);
    let shape = match kind {
        "Status" => builtin::schema("io.k8s.apimachinery.pkg.apis.meta.v1.Status"),
        kind => builtin::kind_in(group, kind),
    };
    let raw = message(&shape?, object)?;
    let mut meta = Vec::new();
    bytes(1, api_version.as_bytes(), &mut meta);
    bytes(2, kind.as_bytes(), &mut meta);
    let mut out = MAGIC.to_vec();
    bytes(1, &meta, &mut out);
    bytes(2, &raw, &mut out);
    // Go writes the empty encoding and content type.
    bytes(3, b"", &mut out);
    bytes(4, b"", &mut out);
    Some(out)
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn number(field: u64, value: i64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(u64::from_le_bytes(value.to_le_bytes()), out);
}

fn message(shape: &Schema, value: &Value) -> Option<Vec<u8>> {
    if let Some(special) = special(shape, value) {
        return Some(special);
    }
    let mut out = Vec::new();
    write_fields(
        shape,
        FIELDS.get(&shape.node().name)?,
        value.as_object()?,
        &mut out,
    )?;
    Some(out)
}

fn write_fields(shape: &Schema, known: &Value, object: &Map<String, Value>, out: &mut Vec<u8>) -> Option<()> {
    let mut fields: Vec<(u64, &Value)> = known
        .as_object()?
        .iter()
        .filter_map(|(number, name)| Some((number.parse().ok()?, name)))
        .collect();
    fields.sort_by_key(|(number, _)| *number);
    for (field, name) in fields {
        let Some(name) = name.as_str() else {
            // The fields of an inlined type are stored in its owner.
            let mut inner = Vec::new();
            write_fields(shape, name, object, &mut inner)?;
            bytes(field, &inner, out);
            continue;
        };
        let key = name.trim_end_matches('?');
        let value = object.get(key).filter(|value| !value.is_null());
        let (Some(value), Some(property)) = (value, shape.property(key)) else {
            continue;
        };
        write_property(&property, field, value, out)?;
    }
    Some(())
}

fn write_property(property: &Schema, field: u64, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    let node = property.node();
    match (value, property.items(), node.additional) {
        (Value::Array(list), Some(items), _) => {
            for item in list {
                write_value(&items, field, item, out)?;
            }
        }
        (Value::Object(map), _, Additional::Schema(id)) if node.properties.is_empty() => {
            let values = property.at(id);
            for (key, value) in map {
                let mut entry = Vec::new();
                bytes(1, key.as_bytes(), &mut entry);
                match (value, values.items()) {
                    // A list in a map is a wrapper message.
                    (Value::Array(list), Some(items)) => {
                        let mut wrapper = Vec::new();
                        for item in list {
                            write_value(&items, 1, item, &mut wrapper)?;
                        }
                        bytes(2, &wrapper, &mut entry);
                    }
                    _ => write_value(&values, 2, value, &mut entry)?,
                }
                bytes(field, &entry, out);
            }
        }
        _ => write_value(property, field, value, out)?,
    }
    Some(())
}

fn write_value(shape: &Schema, field: u64, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    let node = shape.node();
    match (wire_type(shape), value) {
        (0, Value::Bool(truth)) => number(field, i64::from(*truth), out),
        (0, value) => number(field, value.as_i64()?, out),
        (1, value) => {
            varint(field << 3 | 1, out);
            out.extend_from_slice(&value.as_f64()?.to_le_bytes());
        }
        (_, Value::String(text)) if node.kind == Some(Type::String) && special(shape, value).is_none() => {
            match node.format.as_str() {
                "byte" => bytes(field, &STANDARD.decode(text).ok()?, out),
                _ => bytes(field, text.as_bytes(), out),
            }
        }
        (_, value) => bytes(field, &message(shape, value)?, out),
    }
    Some(())
}

/// Types with a JSON form of their own.
fn special(shape: &Schema, value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match (short(shape), value) {
        ("Time" | "MicroTime", Value::String(text)) => {
            let time: jiff::Timestamp = text.parse().ok()?;
            number(1, time.as_second(), &mut out);
            number(2, time.subsec_nanosecond().into(), &mut out);
        }
        ("Quantity", Value::String(text)) => bytes(1, text.as_bytes(), &mut out),
        ("IntOrString", value) => {
            number(1, i64::from(value.is_string()), &mut out);
            number(2, value.as_i64().unwrap_or_default(), &mut out);
            bytes(3, value.as_str().unwrap_or_default().as_bytes(), &mut out);
        }
        ("RawExtension" | "FieldsV1" | "JSON", value) => bytes(1, value.to_string().as_bytes(), &mut out),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protobuf::decode;

    #[test]
    fn encoded_objects_are_decoded_again() {
        let objects = [
            json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "creationTimestamp": "2026-01-02T03:04:05Z"}, "spec": {"replicas": 300}, "status": {"replicas": 0, "selector": "a=b"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}, "annotations": {"c": "d"}},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
                    "template": {"metadata": {"creationTimestamp": null}, "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 80}]}]}}}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}, "immutable": false}),
            json!({"apiVersion": "v1", "kind": "Status", "code": 404, "message": "m", "details": {"name": "n", "causes": [{"field": "f"}]}}),
        ];
        for mut object in objects {
            let encoded = encode(&object).unwrap();
            if object["kind"] == "Status" {
                assert!(encoded.windows(3).any(|part| part == b"\x0a\x01n"));
                continue;
            }
            let decoded = decode(&encoded).unwrap();
            if let Some(template) = object.pointer_mut("/spec/template") {
                template["metadata"] = json!({});
            }
            assert_eq!(decoded, object);
        }
    }
}
