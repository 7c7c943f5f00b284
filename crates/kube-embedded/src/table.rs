//! Objects as tables for `kubectl get`.

mod cells;
mod functions;
mod network;
mod printers;
mod resources;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::object;
use crate::resources::{Column, Resource};

/// The object in a table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

/// A table of objects.
#[must_use]
pub(crate) fn table(resource: &Resource, objects: &[Value], include: Include) -> Value {
    let columns = columns(resource);
    let rows = objects.iter().map(|object| row(resource, object, include));
    let rows: Vec<Value> = rows.collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": columns, "rows": rows})
}

/// One watch event as a table: the first one has the columns.
#[must_use]
pub(crate) fn event_table(resource: &Resource, object: &Value, include: Include, first: bool) -> Value {
    let mut table = table(resource, std::slice::from_ref(object), include);
    table["metadata"] = json!({"resourceVersion": object::meta(object, "resourceVersion")});
    if !first {
        table["columnDefinitions"] = Value::Null;
    }
    table
}

/// The metadata of an object only.
#[must_use]
pub(crate) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i64) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}

/// The headings of a table.
pub(crate) fn columns(resource: &Resource) -> Vec<Value> {
    let name = definition("Name", "string", "name", "Name of the object.", 0);
    match &resource.columns {
        Some(columns) => {
            let own = columns.iter().map(|column| {
                definition(
                    &column.name,
                    &column.kind,
                    &column.format,
                    &column.description,
                    column.priority,
                )
            });
            std::iter::once(name).chain(own).collect()
        }
        None => printers::columns(&resource.table),
    }
}

/// A row of a table.
pub(crate) fn row(resource: &Resource, object: &Value, include: Include) -> Value {
    let cells = match &resource.columns {
        Some(columns) => {
            let name = Value::from(object::meta(object, "name"));
            std::iter::once(name)
                .chain(columns.iter().map(|column| cell(column, object)))
                .collect()
        }
        None => printers::cells(&resource.table, object),
    };
    let mut row = json!({"cells": Value::Array(cells)});
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = partial(object),
        Include::Object => row["object"] = object.clone(),
    }
    row
}

/// A cell of a custom column.
fn cell(column: &Column, object: &Value) -> Value {
    let found = column.path.find(object);
    let Some(first) = found.first() else {
        return Value::Null;
    };
    match (column.kind.as_str(), *first) {
        ("date", Value::String(time)) => age(time).into(),
        ("integer" | "number", Value::Number(number)) => json!(number),
        ("boolean", Value::Bool(truth)) => json!(truth),
        ("string", Value::String(_)) if found.len() == 1 => (*first).clone(),
        ("string", Value::Null) => Value::Null,
        ("string", _) => found
            .iter()
            .map(|value| shown(value))
            .collect::<Vec<_>>()
            .join(",")
            .into(),
        _ => Value::Null,
    }
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// The age of an object in kubectl's form.
fn age(time: &str) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => duration(Timestamp::now().as_second() - time.as_second()),
        Err(_) => "<invalid>".to_owned(),
    }
}

/// Seconds in the two largest relevant units.
fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: i64, unit: &str, small: i64, of: &str| {
        if small == 0 {
            format!("{large}{unit}")
        } else {
            format!("{large}{unit}{small}{of}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn ages_have_the_form_of_kubectl() {
        let shown = [
            5, 119, 120, 125, 3599, 7200, 10_800, 12_000, 90_000, 180_000, 864_000,
        ]
        .map(duration);
        assert_eq!(
            shown,
            [
                "5s", "119s", "2m", "2m5s", "59m", "120m", "3h", "3h20m", "25h", "2d2h", "10d"
            ]
        );
    }
}
