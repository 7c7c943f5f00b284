//! Sets of fields, in the tree form of `managedFields`: `f:` a key, `k:` an item by its keys, `v:` an item by its
//! value, `.` the container itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::resources::{Resource, builtin};
use crate::schema::{ListType, Schema, Type};

/// A set of fields below a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Whether the field itself is in the set.
    pub(super) member: bool,
    pub(super) children: BTreeMap<String, FieldSet>,
}

/// How a value is split into fields.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// An object of a resource; its metadata has a shape of its own.
    Root(Option<Schema>),
    /// By its schema.
    Known(Schema),
    /// Without a schema: maps are split, lists are not.
    Unknown,
}

/// The structure of a value of a shape.
enum Parts<'a> {
    Whole,
    Keys(&'a Map<String, Value>),
    Items(&'a [Value]),
    Values(&'a [Value]),
}

impl Shape {
    pub(super) fn of(resource: &Resource) -> Self {
        Self::Root(resource.schema.clone())
    }

    /// The shape of a key's value.
    pub(super) fn child(&self, key: &str) -> Self {
        let found = match self {
            Self::Root(_) if key == "metadata" => builtin::metadata_schema(),
            Self::Root(schema) => schema.as_ref().and_then(|schema| schema.property(key)),
            Self::Known(schema) => schema.property(key),
            Self::Unknown => None,
        };
        found.map_or(Self::Unknown, Self::Known)
    }

    /// The shape of a list's items.
    pub(super) fn items(&self) -> Self {
        match self {
            Self::Known(schema) => schema.items().map_or(Self::Unknown, Self::Known),
            _ => Self::Unknown,
        }
    }

    fn parts<'a>(&self, value: &'a Value) -> Parts<'a> {
        let (list_type, atomic) = match self {
            Self::Known(schema) => (schema.node().list_type, schema.node().atomic_map),
            _ => (ListType::Atomic, false),
        };
        match value {
            Value::Object(map) if !atomic => Parts::Keys(map),
            Value::Array(list) if list_type == ListType::Map => Parts::Items(list),
            Value::Array(list) if list_type == ListType::Set => Parts::Values(list),
            _ => Parts::Whole,
        }
    }

    /// The element of an item: its keys as `k:{...}`, absent keys with their default.
    pub(super) fn item_key(&self, item: &Value) -> String {
        let Self::Known(schema) = self else {
            return String::new();
        };
        let shape = self.items();
        let mut keys = Map::new();
        for key in &schema.node().list_keys {
            let default = match &shape {
                Self::Known(schema) => schema
                    .property(key)
                    .and_then(|property| property.node().default.clone()),
                _ => None,
            };
            if let Some(value) = item.get(key).cloned().or(default) {
                keys.insert(key.clone(), value);
            }
        }
        format!("k:{}", Value::Object(keys))
    }

    /// Whether the field exists in a new object: Go structs that are not pointers, and lists that are written even
    /// when they are empty.
    fn is_implied(&self, key: &str) -> bool {
        let schema = match self {
            Self::Root(_) if key == "metadata" => return true,
            Self::Root(Some(schema)) | Self::Known(schema) => schema,
            _ => return false,
        };
        let Some(property) = schema.property(key) else {
            return false;
        };
        let node = property.node();
        let empty_struct = !schema.node().name.is_empty()
            && node
                .default
                .as_ref()
                .is_some_and(|default| default.as_object().is_some_and(Map::is_empty));
        let required =
            !schema.node().name.is_empty() && schema.node().required.iter().any(|name| name == key);
        empty_struct || (required && matches!(node.kind, Some(Type::Array | Type::Object)))
    }
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    fn leaf() -> Self {
        Self {
            member: true,
            children: BTreeMap::new(),
        }
    }

    fn put(&mut self, element: String, child: Self) {
        if !child.is_empty() {
            self.children.insert(element, child);
        }
    }

    /// The fields that a writer of this value owns.
    pub(super) fn named(shape: &Shape, value: &Value) -> Self {
        let mut set = Self::default();
        match shape.parts(value) {
            Parts::Whole => return Self::leaf(),
            Parts::Keys(map) => {
                for (key, inner) in map {
                    set.put(format!("f:{key}"), Self::named(&shape.child(key), inner));
                }
            }
            Parts::Items(list) => {
                for item in list {
                    let named = Self::named(&shape.items(), item);
                    set.put(
                        shape.item_key(item),
                        Self {
                            member: true,
                            ..named
                        },
                    );
                }
            }
            Parts::Values(list) => list
                .iter()
                .for_each(|item| set.put(format!("v:{item}"), Self::leaf())),
        }
        if set.is_empty() { Self::leaf() } else { set }
    }

    /// All fields of a value, containers too.
    pub(super) fn all(shape: &Shape, value: &Value) -> Self {
        let mut set = Self::leaf();
        match shape.parts(value) {
            Parts::Whole => {}
            Parts::Keys(map) => {
                for (key, inner) in map {
                    set.put(format!("f:{key}"), Self::all(&shape.child(key), inner));
                }
            }
            Parts::Items(list) => {
                list.iter()
                    .for_each(|item| set.put(shape.item_key(item), Self::all(&shape.items(), item)));
            }
            Parts::Values(list) => list
                .iter()
                .for_each(|item| set.put(format!("v:{item}"), Self::leaf())),
        }
        set
    }

    /// The fields that are new or have another value. `implied`: the field exists even in an empty object.
    pub(super) fn changed(shape: &Shape, old: Option<&Value>, new: &Value, implied: bool) -> Self {
        if old == Some(new) {
            return Self::default();
        }
        let mut set = Self {
            member: old.is_none() && !implied,
            children: BTreeMap::new(),
        };
        match shape.parts(new) {
            Parts::Whole => set.member = true,
            Parts::Keys(map) => {
                for (key, inner) in map {
                    let implied = old.is_none_or(Value::is_object) && implied && shape.is_implied(key);
                    let before = old.and_then(|old| old.get(key));
                    set.put(
                        format!("f:{key}"),
                        Self::changed(&shape.child(key), before, inner, implied),
                    );
                }
            }
            Parts::Items(list) => {
                let before = old
                    .and_then(Value::as_array)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                for item in list {
                    let element = shape.item_key(item);
                    let same = before.iter().find(|other| shape.item_key(other) == element);
                    set.put(element, Self::changed(&shape.items(), same, item, false));
                }
            }
            Parts::Values(list) => {
                let before = old
                    .and_then(Value::as_array)
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                let added = list.iter().filter(|item| !before.contains(item));
                added.for_each(|item| set.put(format!("v:{item}"), Self::leaf()));
            }
        }
        set
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, child) in &other.children {
            self.children.entry(element.clone()).or_default().union(child);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (element, child) in &other.children {
            if let Some(own) = self.children.get_mut(element) {
                own.subtract(child);
                if own.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let mut set = Self {
            member: self.member && other.member,
            children: BTreeMap::new(),
        };
        for (element, child) in &self.children {
            if let Some(others) = other.children.get(element) {
                set.put(element.clone(), child.intersection(others));
            }
        }
        set
    }

    pub(super) fn drop_path(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.drop_path(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    /// The members as paths, such as `.spec.containers[name="c"].image`.
    pub(super) fn paths(&self, start: &str) -> Vec<String> {
        let mut paths = Vec::new();
        if self.member && !start.is_empty() {
            paths.push(start.to_owned());
        }
        for (element, child) in &self.children {
            let step = match element.split_at(2) {
                ("f:", name) => format!(".{name}"),
                ("k:", keys) => {
                    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                    let keys: Vec<String> =
                        keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                    format!("[{}]", keys.join(","))
                }
                (_, value) => format!("[={value}]"),
            };
            paths.extend(child.paths(&format!("{start}{step}")));
        }
        paths
    }

    /// As `fieldsV1`.
    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            map.insert(element.clone(), child.to_value());
        }
        Value::Object(map)
    }

    /// From `fieldsV1`.
    pub(super) fn from_value(value: &Value) -> Self {
        let mut set = Self::default();
        let Some(map) = value.as_object() else { return set };
        set.member = map.is_empty() || map.contains_key(".");
        for (element, child) in map
            .iter()
            .filter(|(element, _)| *element != "." && element.len() > 1)
        {
            set.children.insert(element.clone(), Self::from_value(child));
        }
        set
    }

    /// Removes the members from a value. A container in the set is removed with its last field.
    pub(super) fn remove_from(&self, shape: &Shape, value: &mut Value) {
        for (element, child) in &self.children {
            let (kind, name) = element.split_at(2);
            match (kind, &mut *value) {
                ("f:", Value::Object(map)) => {
                    let Some(inner) = map.get_mut(name) else { continue };
                    child.remove_from(&shape.child(name), inner);
                    let empty = inner.as_object().is_some_and(Map::is_empty)
                        || inner.as_array().is_some_and(Vec::is_empty);
                    if (child.member && child.children.is_empty()) || (empty && !child.children.is_empty()) {
                        map.remove(name);
                    }
                }
                ("k:", Value::Array(list)) => {
                    let Some(index) = list.iter().position(|item| shape.item_key(item) == *element) else {
                        continue;
                    };
                    if child.member {
                        list.remove(index);
                    } else {
                        child.remove_from(&shape.items(), &mut list[index]);
                    }
                }
                ("v:", Value::Array(list)) => {
                    let gone: Value = serde_json::from_str(name).unwrap_or_default();
                    list.retain(|item| *item != gone);
                }
                _ => {}
            }
        }
    }
}

/// Merges the applied value.
pub(super) fn merge(shape: &Shape, live: &mut Value, applied: &Value) {
    match shape.parts(applied) {
        Parts::Whole => *live = applied.clone(),
        Parts::Keys(map) => {
            if !live.is_object() {
                *live = Value::Object(Map::new());
            }
            let Value::Object(target) = live else { return };
            for (key, inner) in map {
                merge(&shape.child(key), target.entry(key).or_insert(Value::Null), inner);
            }
        }
        Parts::Items(list) => {
            if !live.is_array() {
                *live = Value::Array(Vec::new());
            }
            let Value::Array(target) = live else { return };
            for item in list {
                let element = shape.item_key(item);
                match target.iter_mut().find(|other| shape.item_key(other) == element) {
                    Some(other) => merge(&shape.items(), other, item),
                    None => target.push(item.clone()),
                }
            }
        }
        Parts::Values(list) => {
            if !live.is_array() {
                *live = Value::Array(Vec::new());
            }
            let Value::Array(target) = live else { return };
            for item in list {
                if !target.contains(item) {
                    target.push(item.clone());
                }
            }
        }
    }
}
