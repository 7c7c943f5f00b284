//! Bodies in the binary form that kubectl and typed clients prefer for built-in kinds. Responses have it only where a
//! client does not accept JSON.
//!
//! A value's type follows from its shape; only the field numbers are stored, in `builtin/protobuf.json`.

mod encode;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::resources::builtin;
use crate::schema::{Additional, Schema, Type};

pub use encode::encode;

/// Content type of the binary form.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The prefix of each object.
const MAGIC: &[u8] = b"k8s\0";
/// Maximum nesting depth.
const MAX_DEPTH: usize = 64;

static FIELDS: LazyLock<BTreeMap<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("builtin/protobuf.json")).unwrap_or_default());

/// Why a body cannot be decoded.
#[derive(Debug)]
pub enum DecodeError {
    /// The kind is unknown, or cannot be read.
    Unrecognized(String),
    /// The object of a kind is invalid.
    Invalid {
        /// Its kind.
        kind: String,
        /// The version of its group.
        version: String,
        /// The error.
        what: String,
    },
}

impl DecodeError {
    /// The message of the real server, which expects an object of a kind.
    #[must_use]
    pub fn message(&self, expected: &str, body: &[u8]) -> String {
        const SHOWN: usize = 30;
        match self {
            Self::Unrecognized(what) => {
                let start: String = body
                    .iter()
                    .take(SHOWN)
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let rest = if body.len() > SHOWN { " ..." } else { "" };
                format!(
                    "the object provided is unrecognized (must be of type {expected}): {what} ({start}{rest})"
                )
            }
            Self::Invalid { kind, version, what } => {
                format!("{kind} in version \"{version}\" cannot be handled as a {expected}: {what}")
            }
        }
    }
}

/// Decodes an object.
///
/// # Errors
/// The body is truncated, malformed, or of an unknown kind.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let (api_version, kind, raw) = open(body).map_err(DecodeError::Unrecognized)?;
    let (group, version) = crate::api::split_api_version(&api_version);
    let shape = match kind.as_str() {
        "DeleteOptions" => builtin::schema("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"),
        _ => builtin::kind_in(group, &kind),
    };
    let unknown = || format!("no kind \"{kind}\" is registered for version \"{api_version}\"");
    let shape = shape.ok_or_else(|| DecodeError::Unrecognized(unknown()))?;
    let decoded = message(&shape, raw, 0).map_err(|what| DecodeError::Invalid {
        kind: kind.clone(),
        version: version.to_owned(),
        what,
    });
    let mut object = decoded?;
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), api_version.into());
        map.insert("kind".into(), kind.into());
    }
    Ok(object)
}

/// The version, the kind and the bytes of an object.
fn open(body: &[u8]) -> Result<(String, String, &[u8]), String> {
    let envelope = body
        .strip_prefix(MAGIC)
        .ok_or("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in fields(envelope)? {
        match field {
            (1, Wire::Bytes(meta)) => {
                for field in fields(meta)? {
                    match field {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    Ok((api_version, kind, raw))
}

/// Whether Go omits a field of a type when it is zero.
#[must_use]
pub fn omits_zero(name: &str, key: &str) -> bool {
    static OMITTED: LazyLock<BTreeMap<&str, BTreeSet<&str>>> = LazyLock::new(|| {
        let types = FIELDS.iter();
        types
            .map(|(name, fields)| (name.as_str(), omitted(fields).collect()))
            .collect()
    });
    OMITTED.get(name).is_some_and(|keys| keys.contains(key))
}

/// The keys of a type, and of those inlined in it, that Go omits when they are zero.
fn omitted(fields: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    let fields = fields.as_object().into_iter().flat_map(|fields| fields.values());
    Box::new(fields.flat_map(|field| match field {
        Value::String(name) => Box::new(name.strip_suffix('?').into_iter()),
        inlined => omitted(inlined),
    }))
}

/// A field's value on the wire.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

fn fields(mut rest: &[u8]) -> Result<Vec<(u64, Wire<'_>)>, String> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let tag = varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Wire::Number(varint(&mut rest)?),
            1 => Wire::Double(f64::from_le_bytes(
                take(&mut rest, 8)?.try_into().map_err(|_| cut_off())?,
            )),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).map_err(|_| cut_off())?;
                Wire::Bytes(take(&mut rest, length)?)
            }
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        fields.push((tag >> 3, value));
    }
    Ok(fields)
}

fn cut_off() -> String {
    "unexpected EOF".to_owned()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], String> {
    let (taken, left) = rest.split_at_checked(length).ok_or_else(cut_off)?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("proto: integer overflow".to_owned())
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "proto: a text that is no UTF-8".to_owned())
}

/// The last segment of a type's name.
fn short(shape: &Schema) -> &str {
    shape.node().name.rsplit('.').next().unwrap_or_default()
}

fn message(shape: &Schema, bytes: &[u8], depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err("proto: nested too deeply".to_owned());
    }
    if let Some(value) = special(shape, bytes, depth)? {
        return Ok(value);
    }
    let name = &shape.node().name;
    let known = FIELDS
        .get(name)
        .ok_or_else(|| format!("the binary form of {name} is unknown"))?;
    let mut object = Map::new();
    read_into(shape, known, bytes, &mut object, depth)?;
    Ok(Value::Object(object))
}

fn read_into(
    shape: &Schema,
    known: &Value,
    bytes: &[u8],
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    for (number, wire) in fields(bytes)? {
        let name = match known.get(number.to_string()) {
            None => continue,
            Some(Value::String(name)) => name,
            // The fields of an inlined type are stored in its owner.
            Some(inlined) => {
                if let Wire::Bytes(inner) = wire {
                    read_into(shape, inlined, inner, object, depth + 1)?;
                }
                continue;
            }
        };
        let key = name.trim_end_matches('?');
        let Some(property) = shape.property(key) else {
            continue;
        };
        let node = property.node();
        let item = property.items().filter(|_| node.kind == Some(Type::Array));
        if wire.type_number() != wire_type(item.as_ref().unwrap_or(&property)) {
            let (found, field) = (wire.type_number(), go_name(key));
            return Err(format!("proto: wrong wireType = {found} for field {field}"));
        }
        match (node.kind, node.additional) {
            (Some(Type::Array), _) => {
                let item = property.items().ok_or_else(|| format!("{key} has no items"))?;
                let value = scalar_or_message(&item, wire, depth)?;
                if let Value::Array(list) = object.entry(key).or_insert_with(|| json!([])) {
                    list.push(value);
                }
            }
            (Some(Type::Object), Additional::Schema(id)) if node.properties.is_empty() => {
                let (entry, value) = map_entry(&property.at(id), wire, depth)?;
                if let Value::Object(map) = object.entry(key).or_insert_with(|| json!({})) {
                    map.insert(entry, value);
                }
            }
            _ => {
                let value = scalar_or_message(&property, wire, depth)?;
                if !(name.ends_with('?') && is_zero(&value)) {
                    object.insert(key.to_owned(), value);
                }
            }
        }
    }
    Ok(())
}

impl Wire<'_> {
    fn type_number(self) -> u8 {
        match self {
            Wire::Number(_) => 0,
            Wire::Double(_) => 1,
            Wire::Bytes(_) => 2,
        }
    }
}

/// The type on the wire of values of a shape.
fn wire_type(shape: &Schema) -> u8 {
    let node = shape.node();
    match node.kind {
        _ if node.int_or_string => 2,
        Some(Type::Boolean | Type::Integer) => 0,
        Some(Type::Number) => 1,
        _ => 2,
    }
}

/// The name of a field in Go, as error messages have it.
fn go_name(key: &str) -> String {
    if key == "metadata" {
        return "ObjectMeta".to_owned();
    }
    let (first, rest) = key.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(_) => false,
    }
}

fn map_entry(shape: &Schema, wire: Wire<'_>, depth: usize) -> Result<(String, Value), String> {
    let Wire::Bytes(bytes) = wire else {
        return Err("proto: wrong wireType of a map".to_owned());
    };
    let (mut key, mut value) = (String::new(), None);
    for field in fields(bytes)? {
        match field {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            // A list in a map is a wrapper message.
            (2, Wire::Bytes(list)) if shape.node().kind == Some(Type::Array) => {
                let texts = fields(list)?.into_iter().map(|(_, wire)| match wire {
                    Wire::Bytes(text) => utf8(text).map(Value::from),
                    _ => Err("proto: wrong wireType of a list".to_owned()),
                });
                value = Some(texts.collect::<Result<Value, String>>()?);
            }
            (2, wire) => value = Some(scalar_or_message(shape, wire, depth)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or_else(|| "".into())))
}

fn scalar_or_message(shape: &Schema, wire: Wire<'_>, depth: usize) -> Result<Value, String> {
    let node = shape.node();
    Ok(match wire {
        Wire::Number(number) if node.kind == Some(Type::Boolean) => (number != 0).into(),
        // Negative numbers are their two's complement.
        Wire::Number(number) => i64::from_le_bytes(number.to_le_bytes()).into(),
        Wire::Double(number) => json!(number),
        Wire::Bytes(bytes) => {
            let plain = node.name.is_empty()
                || matches!(node.kind, Some(Type::String)) && !matches!(short(shape), "Time" | "MicroTime");
            match (node.kind, node.format.as_str()) {
                (Some(Type::String), "byte") => STANDARD.encode(bytes).into(),
                (Some(Type::String), "date-time") => message(shape, bytes, depth + 1)?,
                (Some(Type::String), _) if plain => utf8(bytes)?.into(),
                _ => message(shape, bytes, depth + 1)?,
            }
        }
    })
}

/// Types with a JSON form of their own.
fn special(shape: &Schema, bytes: &[u8], depth: usize) -> Result<Option<Value>, String> {
    let find = |wanted: u64| -> Result<Option<Wire<'_>>, String> {
        Ok(fields(bytes)?
            .into_iter()
            .find(|(number, _)| *number == wanted)
            .map(|(_, wire)| wire))
    };
    let number = |wanted: u64| -> Result<i64, String> {
        Ok(match find(wanted)? {
            Some(Wire::Number(number)) => i64::from_le_bytes(number.to_le_bytes()),
            _ => 0,
        })
    };
    let text = |wanted: u64| -> Result<String, String> {
        match find(wanted)? {
            Some(Wire::Bytes(bytes)) => utf8(bytes),
            _ => Ok(String::new()),
        }
    };
    let inner = |wanted: u64| -> Result<Option<&[u8]>, String> {
        Ok(match find(wanted)? {
            Some(Wire::Bytes(bytes)) => Some(bytes),
            _ => None,
        })
    };
    let json_of = |bytes: Option<&[u8]>| {
        serde_json::from_slice(bytes.unwrap_or(b"null")).map_err(|error| error.to_string())
    };
    let props = || {
        builtin::schema("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
            .ok_or("no JSONSchemaProps")
    };
    Ok(Some(match short(shape) {
        "Time" | "MicroTime" if bytes.is_empty() => Value::Null,
        "Time" => time(number(1)?, 0)?,
        "MicroTime" => time(number(1)?, number(2)?)?,
        "Quantity" => text(1)?.into(),
        "IntOrString" if number(1)? == 0 => number(2)?.into(),
        "IntOrString" => text(3)?.into(),
        "RawExtension" | "FieldsV1" | "JSON" => json_of(inner(1)?)?,
        "JSONSchemaPropsOrBool" => match inner(2)? {
            Some(schema) => message(&props()?, schema, depth + 1)?,
            None => (number(1)? != 0).into(),
        },
        "JSONSchemaPropsOrArray" => match inner(1)? {
            Some(schema) => message(&props()?, schema, depth + 1)?,
            None => Value::Null,
        },
        _ => return Ok(None),
    }))
}

fn time(seconds: i64, nanoseconds: i64) -> Result<Value, String> {
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| "proto: invalid time".to_owned())?;
    let time = jiff::Timestamp::new(seconds, nanoseconds).map_err(|error| error.to_string())?;
    Ok(if nanoseconds == 0 {
        time.to_string().into()
    } else {
        format!("{time:.6}").into()
    })
}
