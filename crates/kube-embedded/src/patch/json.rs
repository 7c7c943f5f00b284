//! JSON patches (RFC 6902) with the real server's limits: of operations, and of the bytes that copies add.

use std::io;

use json_patch::jsonptr::Pointer;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde_json::Value;

use crate::status::Status;

/// Maximum operations.
const MAX_OPERATIONS: usize = 10_000;
/// Maximum sum of the sizes of copied values, as JSON in bytes: the maximum size of a body.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// Maximum depth of a patched value, as deeper ones cannot be read again: the parser's limit is 128, and the fields of
/// managers are deeper than the object's own.
const MAX_DEPTH: usize = 120;

/// Decodes a patch.
///
/// # Errors
/// 400; 413 for too many operations.
pub(super) fn read(value: Value) -> Result<Patch, Status> {
    if let Some(count) = value
        .as_array()
        .map(Vec::len)
        .filter(|&count| count > MAX_OPERATIONS)
    {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        );
        return Err(Status::plain(413, "RequestEntityTooLarge", message));
    }
    let wrong = |value: &Value, wanted: &str| {
        let found = match value {
            Value::Object(_) => "object",
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Bool(_) => "bool",
            _ => "number",
        };
        let message =
            format!("error decoding patch: json: cannot unmarshal {found} into Go value of type {wanted}");
        Err(Status::bad_request(message))
    };
    let Some(list) = value.as_array() else {
        return wrong(&value, "[]handlers.jsonPatchOp");
    };
    if let Some(other) = list.iter().find(|operation| !operation.is_object()) {
        return wrong(other, "handlers.jsonPatchOp");
    }
    serde_json::from_value(value).map_err(|error| rejected(&error.to_string()))
}

/// Applies a patch. After an error the value is undefined.
///
/// # Errors
/// 422 for a patch that does not match the value, or that copies too much.
pub(super) fn apply(value: &mut Value, patch: &Patch) -> Result<(), Status> {
    let mut copied = 0;
    for operation in &patch.0 {
        let operation = &lenient(operation, value);
        let inserted = match operation {
            PatchOperation::Add(add) => Some(&add.value),
            PatchOperation::Replace(replace) => Some(&replace.value),
            PatchOperation::Copy(copy) => copy.from.resolve(value).ok(),
            PatchOperation::Move(moved) => moved.from.resolve(value).ok(),
            PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
        };
        if let (PatchOperation::Copy(_), Some(inserted)) = (operation, inserted) {
            copied += size(inserted);
            if copied > MAX_COPIED {
                return Err(rejected("the copies of a JSON patch exceed the limit"));
            }
        }
        if inserted.is_some_and(|inserted| operation.path().count() + depth(inserted) > MAX_DEPTH) {
            return Err(rejected("a JSON patch nests too deeply"));
        }
        json_patch::patch_unsafe(value, std::slice::from_ref(operation))
            .map_err(|error| rejected(&error.to_string()))?;
    }
    Ok(())
}

/// An operation as the real server understands it: it may replace a key that is missing, and copies a missing key as
/// null.
fn lenient(operation: &PatchOperation, value: &Value) -> PatchOperation {
    let is_missing = |path: &Pointer| {
        let owner = path.parent().and_then(|owner| owner.resolve(value).ok());
        owner.is_some_and(Value::is_object) && path.resolve(value).is_err()
    };
    let (path, value) = match operation {
        PatchOperation::Replace(replace) if is_missing(&replace.path) => {
            (&replace.path, replace.value.clone())
        }
        PatchOperation::Copy(copy) if is_missing(&copy.from) => (&copy.path, Value::Null),
        other => return other.clone(),
    };
    let path = path.clone();
    PatchOperation::Add(AddOperation { path, value })
}

fn rejected(why: &str) -> Status {
    tracing::debug!(why, "a JSON patch cannot be applied");
    let message = "the server rejected our request due to an error in our request";
    Status {
        details: Some(Box::default()),
        ..Status::plain(422, "Invalid", message)
    }
}

/// Levels of lists and objects.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or_default(),
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The size of a value as JSON.
fn size(value: &Value) -> usize {
    let mut counter = Counter(0);
    // Counting cannot fail.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn copies(size: usize, count: usize) -> Result<Value, u16> {
        let mut operations = vec![json!({"op": "add", "path": "/a", "value": "A".repeat(size)})];
        operations.extend((0..count).map(|n| json!({"op": "copy", "from": "/a", "path": format!("/b{n}")})));
        let patch = read(operations.into()).map_err(|status| status.code)?;
        let mut value = json!({});
        apply(&mut value, &patch).map_err(|status| status.code)?;
        Ok(value)
    }

    #[test]
    fn bytes_of_copies_are_limited() {
        assert!(copies(1_000_000, 3).is_ok());
        assert_eq!(copies(1_000_000, 4).err(), Some(422));
        assert!(copies(786_000, 4).is_ok());
    }

    #[test]
    fn copies_of_copies_are_limited() {
        let doubling = (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/b{n}")}));
        let patch = read(doubling.collect()).unwrap();
        let mut value = json!({"a": "A".repeat(1000)});
        assert_eq!(apply(&mut value, &patch).unwrap_err().code, 422);
        assert!(size(&value) <= 2 * MAX_COPIED);
    }

    #[test]
    fn depth_is_limited() {
        let doubling = (0..12).map(|n| {
            let path = "/a".repeat(1 << n);
            json!({"op": "copy", "from": "", "path": path})
        });
        let patch = read(doubling.collect()).unwrap();
        let mut value = json!({});
        assert_eq!(apply(&mut value, &patch).unwrap_err().code, 422);
        assert!(depth(&value) <= MAX_DEPTH);
    }

    #[test]
    fn missing_keys_are_replaced_and_copied_as_null() {
        let patch = read(json!([
            {"op": "replace", "path": "/a/new", "value": 1},
            {"op": "copy", "from": "/a/none", "path": "/a/null"},
        ]));
        let mut value = json!({"a": {}});
        apply(&mut value, &patch.unwrap()).unwrap();
        assert_eq!(value, json!({"a": {"new": 1, "null": null}}));
        for operation in [
            json!({"op": "remove", "path": "/none"}),
            json!({"op": "move", "from": "/none", "path": "/b"}),
            json!({"op": "replace", "path": "/none/below", "value": 1}),
            json!({"op": "test", "path": "/a", "value": 2}),
        ] {
            let patch = read(json!([operation])).unwrap();
            assert_eq!(apply(&mut value, &patch).unwrap_err().code, 422);
        }
    }

    #[test]
    fn malformed_patches_are_rejected() {
        for (patch, code) in [
            (json!({"op": "add"}), 400),
            (json!([1]), 400),
            (json!([{"op": "bad", "path": "/a"}]), 422),
            (json!([{"path": "/a"}]), 422),
            (json!([{"op": "add", "path": "a", "value": 1}]), 422),
        ] {
            assert_eq!(read(patch.clone()).unwrap_err().code, code, "{patch}");
        }
    }

    #[test]
    fn operations_are_limited() {
        let operations = |count| read(vec![json!({"op": "test", "path": "/a", "value": 1}); count].into());
        assert_eq!(operations(10_000).unwrap().0.len(), 10_000);
        assert_eq!(operations(10_001).unwrap_err().code, 413);
    }
}
