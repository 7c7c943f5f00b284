//! The fields of a custom resource's scale.

use serde_json::Value;

use crate::resources::ScalePaths;
use crate::resources::names::quoted;
use crate::status::Cause;

/// Checks that the numbers are in their range, and the selector is a text.
pub(in crate::api) fn check(paths: &ScalePaths, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for path in [&paths.spec, &paths.status] {
        let (shown, detail) = match find(object, path, "int64", |value| value.is_i64() || value.is_u64()) {
            Err(what) => (0, what),
            Ok(found) => {
                let Some(number) = found.and_then(Value::as_i64) else {
                    continue;
                };
                let detail = match number {
                    ..0 => "should be a non-negative integer".to_owned(),
                    number if i32::try_from(number).is_err() => {
                        format!("should be less than or equal to {}", i32::MAX)
                    }
                    _ => continue,
                };
                (number, detail)
            }
        };
        causes.push(Cause::invalid(path, &shown.to_string(), &detail));
    }
    if !paths.selector.is_empty()
        && let Err(what) = find(object, &paths.selector, "string", Value::is_string)
    {
        causes.push(Cause::invalid(&paths.selector, &quoted(""), &what));
    }
    causes
}

/// The value at a path, if it is of the wanted type.
fn find<'a>(
    object: &'a Value,
    path: &str,
    wanted: &str,
    is_wanted: fn(&Value) -> bool,
) -> Result<Option<&'a Value>, String> {
    let mut at = object;
    let wrong = |value: &Value, wanted: &str| {
        let (shown, found) = go_value(value);
        Err(format!(
            "{path} accessor error: {shown} is of the type {found}, expected {wanted}"
        ))
    };
    for name in path.split('.').filter(|name| !name.is_empty()) {
        if !at.is_object() {
            return wrong(at, "map[string]interface{}");
        }
        match at.get(name) {
            Some(inner) => at = inner,
            None => return Ok(None),
        }
    }
    if is_wanted(at) {
        Ok(Some(at))
    } else {
        wrong(at, wanted)
    }
}

/// A value and its type as Go prints them.
fn go_value(value: &Value) -> (String, &'static str) {
    match value {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(truth) => (truth.to_string(), "bool"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => (number.to_string(), "float64"),
            None => (number.to_string(), "int64"),
        },
        Value::String(text) => (text.clone(), "string"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
    }
}
