//! Strategic merge patches: merge patches with merged lists and merge keys.

use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies the patch to an object.
pub(super) fn apply(shape: &Schema, current: &Value, patch: &Value) -> Result<Value, Status> {
    let mut merged = current.clone();
    merge(Some(shape), &mut merged, patch)?;
    Ok(merged)
}

fn merge(shape: Option<&Schema>, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get(DIRECTIVE).and_then(Value::as_str) {
        None => {}
        Some("replace") => {
            *target = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some("merge") => {}
        Some(other) => return Err(Status::bad_request(format!("Unknown patch type found: {other}"))),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(map) = target else { return Ok(()) };
    if let Some(Value::Array(keep)) = patch.get(RETAIN) {
        map.retain(|key, _| keep.iter().any(|kept| kept == key));
    }
    for (key, value) in patch {
        if let Some(name) = key.strip_prefix(DELETE) {
            remove_values(map, name, value);
        } else if !key.starts_with('$') {
            merge_field(
                shape.and_then(|shape| shape.property(key)).as_ref(),
                map,
                key,
                value,
                patch,
            )?;
        }
    }
    Ok(())
}

fn merge_field(
    shape: Option<&Schema>,
    map: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    patch: &Map<String, Value>,
) -> Result<(), Status> {
    if value.is_null() {
        map.remove(key);
        return Ok(());
    }
    let merges_list =
        shape.is_some_and(|shape| shape.node().patch_strategy.split(',').any(|part| part == "merge"));
    match (value, merges_list) {
        (Value::Array(items), true) => {
            let order = patch
                .get(&format!("{ORDER}{key}"))
                .and_then(Value::as_array)
                .unwrap_or(items);
            let target = map.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(target) = target else {
                return Ok(());
            };
            let before = target.clone();
            let merge_key = shape.and_then(|shape| shape.node().patch_key.clone());
            match merge_key {
                Some(merge_key) => {
                    merge_list(shape, target, items, &merge_key)?;
                    sort(target, &before, order, |item| item.get(&merge_key));
                }
                None => {
                    let missing: Vec<Value> = items
                        .iter()
                        .filter(|item| !target.contains(item))
                        .cloned()
                        .collect();
                    target.extend(missing);
                    sort(target, &before, order, |item| Some(item));
                }
            }
            Ok(())
        }
        (Value::Object(_), _)
            if shape.is_none_or(|shape| !shape.node().patch_strategy.contains("replace")) =>
        {
            merge(shape, map.entry(key).or_insert(Value::Null), value)
        }
        _ => {
            map.insert(key.to_owned(), value.clone());
            Ok(())
        }
    }
}

fn merge_list(
    shape: Option<&Schema>,
    target: &mut Vec<Value>,
    items: &[Value],
    merge_key: &str,
) -> Result<(), Status> {
    let item_shape = shape.and_then(Schema::items);
    if let Some(replace) = items.iter().find(|item| {
        item.get(DIRECTIVE)
            .is_some_and(|directive| directive == "replace")
    }) {
        let kept = items.iter().filter(|item| *item != replace);
        *target = kept.cloned().collect();
        return Ok(());
    }
    for item in items {
        let Some(key) = item.get(merge_key) else {
            let message = format!("map: {item} does not contain declared merge key: {merge_key}");
            return Err(Status::bad_request(message));
        };
        let found = target
            .iter()
            .position(|existing| existing.get(merge_key) == Some(key));
        let delete = item.get(DIRECTIVE).is_some_and(|directive| directive == "delete");
        match found {
            Some(index) if delete => {
                target.remove(index);
            }
            None if delete => {}
            Some(index) => merge(item_shape.as_ref(), &mut target[index], item)?,
            None => {
                let mut added = Value::Object(Map::new());
                merge(item_shape.as_ref(), &mut added, item)?;
                target.push(added);
            }
        }
    }
    Ok(())
}

/// Orders a merged list: the patch's items in its order, the server's other items in theirs, and of two candidates
/// the server's first only where it precedes the other one on the server.
fn sort(target: &mut Vec<Value>, before: &[Value], order: &[Value], key: impl Fn(&Value) -> Option<&Value>) {
    let position = |list: &[Value], item: &Value| {
        list.iter()
            .position(|other| key(other).is_some() && key(other) == key(item))
    };
    let (mut named, only_server): (Vec<Value>, Vec<Value>) = std::mem::take(target)
        .into_iter()
        .partition(|item| position(order, item).is_some());
    named.sort_by_key(|item| position(order, item));
    let mut only_server = only_server.into_iter().peekable();
    for item in named {
        if let Some(own) = position(before, &item) {
            while let Some(other) =
                only_server.next_if(|other| position(before, other).is_some_and(|other| other < own))
            {
                target.push(other);
            }
        }
        target.push(item);
    }
    target.extend(only_server);
}

fn remove_values(map: &mut Map<String, Value>, name: &str, values: &Value) {
    if let (Some(Value::Array(target)), Value::Array(values)) = (map.get_mut(name), values) {
        target.retain(|item| !values.contains(item));
    }
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(key, _)| !key.starts_with('$'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
