//! Who manages which field.

use serde_json::Value;

use crate::resources::Resource;
use crate::status::Status;

/// Records the fields that a write changed as its manager's.
pub fn record_update(
    _resource: &Resource,
    _object: &mut Value,
    _current: Option<&Value>,
    _manager: &str,
    _subresource: &str,
) {
}

/// Records the fields of an applied object that is new.
pub fn record_applied(
    _resource: &Resource,
    _object: &mut Value,
    _wanted: &Value,
    _manager: &str,
    _subresource: &str,
) {
}

/// Checks what was applied.
///
/// # Errors
/// 400.
pub fn check_applied(
    _resource: &Resource,
    _name: &str,
    _namespace: &str,
    _wanted: &mut Value,
) -> Result<Vec<String>, Status> {
    Err(Status::not_implemented("server-side apply"))
}

/// The object with what was applied.
///
/// # Errors
/// 409 with one cause a conflicting field.
pub fn apply(
    _resource: &Resource,
    _current: &Value,
    _wanted: &Value,
    _manager: &str,
    _force: bool,
    _subresource: &str,
) -> Result<Value, Status> {
    Err(Status::not_implemented("server-side apply"))
}

/// Whether a write changes nothing.
#[must_use]
pub fn same(object: &Value, current: &Value) -> bool {
    object == current
}
