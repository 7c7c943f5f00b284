//! Columns of the built-in kinds, which `builtin/columns.json` lists as the real server has them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::functions::Function;
use super::{age, cells, definition};
use crate::object::text;

/// Columns by table; those of the empty name are for kinds without columns of their own.
static TABLES: LazyLock<BTreeMap<String, Vec<Column>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../builtin/columns.json")).unwrap_or_default());

#[derive(Deserialize)]
struct Column {
    name: String,
    /// `string`, `integer`, `boolean` or `date`.
    #[serde(default = "string")]
    kind: String,
    #[serde(default)]
    format: String,
    /// Whether it is shown only with `--output wide`.
    #[serde(default)]
    wide: bool,
    #[serde(flatten)]
    cell: Cell,
}

fn string() -> String {
    "string".to_owned()
}

/// The content of a cell.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cell {
    /// The string at a pointer; `<none>` when absent.
    Text(String),
    /// The string at a pointer; empty when absent.
    Bare(String),
    /// The value at a pointer; `N/A` when absent.
    OrNa(String),
    /// The value at a pointer; `<unset>` when absent.
    OrUnset(String),
    /// The string at a pointer; `<unknown>` when empty.
    OrUnknown(String),
    /// The labels at a pointer.
    Labels(String),
    /// The number at a pointer; 0 when absent.
    Number(String),
    /// The boolean at a pointer.
    Flag(String),
    /// The boolean at a pointer as `True` or `False`.
    FlagText(String),
    /// The time since the timestamp at a pointer.
    Age(String),
    /// The number of items at these pointers.
    Count(Vec<String>),
    /// The numbers at two pointers, as in `1/3`.
    Ready(String, String),
    /// The names of a binding's subjects of a kind.
    Subjects(String),
    /// The value of a function.
    Computed(Function),
}

fn columns_of(table: &str) -> &'static [Column] {
    let columns = TABLES.get(table).or_else(|| TABLES.get(""));
    columns.map_or(&[], Vec::as_slice)
}

pub(super) fn columns(table: &str) -> Vec<Value> {
    let columns = columns_of(table).iter();
    columns
        .map(|column| definition(&column.name, &column.kind, &column.format, "", column.wide.into()))
        .collect()
}

pub(super) fn cells(table: &str, object: &Value) -> Vec<Value> {
    // Events of their own group have other field names.
    let mut object = Cow::Borrowed(object);
    if table == "events" && object.get("regarding").is_some() {
        crate::api::events::to_old(object.to_mut());
    }
    let columns = columns_of(table).iter();
    columns.map(|column| column.cell.show(&object)).collect()
}

impl Cell {
    fn show(&self, object: &Value) -> Value {
        match self {
            Self::Text(pointer) => cells::or_none(text(object, pointer)),
            Self::Bare(pointer) => text(object, pointer).into(),
            Self::OrNa(pointer) => cells::or(object, pointer, "N/A"),
            Self::OrUnset(pointer) => cells::or(object, pointer, "<unset>"),
            Self::OrUnknown(pointer) => match text(object, pointer) {
                "" => "<unknown>".into(),
                known => known.into(),
            },
            Self::Labels(pointer) => cells::labels(object.pointer(pointer)),
            Self::Number(pointer) => object.pointer(pointer).cloned().unwrap_or_else(|| json!(0)),
            Self::Flag(pointer) => object.pointer(pointer).cloned().unwrap_or(Value::Bool(false)),
            Self::FlagText(pointer) => cells::flag_text(object, pointer),
            Self::Age(pointer) => match text(object, pointer) {
                "" => "<none>".into(),
                time => age(time).into(),
            },
            Self::Count(pointers) => pointers
                .iter()
                .map(|pointer| cells::size(object.pointer(pointer)))
                .sum::<usize>()
                .into(),
            Self::Ready(ready, wanted) => cells::ready_of(object, ready, wanted),
            Self::Subjects(kind) => cells::subjects(object, kind),
            Self::Computed(function) => function.call(object),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_columns_is_valid() {
        let tables: BTreeMap<String, Vec<Column>> =
            serde_json::from_str(include_str!("../builtin/columns.json")).unwrap();
        assert!(tables.contains_key("pods") && tables.contains_key(""));
    }
}
