//! Strategic merge patches: a merge patch that knows which lists are merged and by which key.

use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// The object with the patch.
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
            let order = patch.get(&format!("{ORDER}{key}")).and_then(Value::as_array);
            let target = map.entry(key).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(target) = target else {
                return Ok(());
            };
            let merge_key = shape.and_then(|shape| shape.node().patch_key.clone());
            match merge_key {
                Some(merge_key) => {
                    merge_list(shape, target, items, &merge_key)?;
                    sort(target, order, |item| item.get(&merge_key));
                }
                None => {
                    let missing: Vec<Value> = items
                        .iter()
                        .filter(|item| !target.contains(item))
                        .cloned()
                        .collect();
                    target.extend(missing);
                    sort(target, order, |item| Some(item));
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

/// Brings a merged list into the order that the client has; what the client does not know keeps its place behind
/// what it followed.
fn sort(target: &mut Vec<Value>, order: Option<&Vec<Value>>, key: impl Fn(&Value) -> Option<&Value>) {
    let Some(order) = order else { return };
    let wanted: Vec<Option<Value>> = order.iter().map(|item| key(item).cloned()).collect();
    let place = |item: &Value| {
        wanted
            .iter()
            .position(|wanted| wanted.is_some() && wanted.as_ref() == key(item))
    };
    let mut last = 0;
    let mut placed: Vec<(usize, usize, Value)> = Vec::new();
    for (index, item) in std::mem::take(target).into_iter().enumerate() {
        last = place(&item).unwrap_or(last);
        placed.push((last, index, item));
    }
    placed.sort_by_key(|(place, index, _)| (*place, *index));
    target.extend(placed.into_iter().map(|(_, _, item)| item));
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
