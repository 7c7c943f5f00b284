//! Members of a JSON object as they are in its text: values are neither copied nor interpreted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A string; borrowed unless it has escapes.
#[derive(serde::Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// The first `MAX` members of an object, in the order of its text.
pub(crate) struct Members<'a, const MAX: usize> {
    pub(crate) members: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Number of members, including those beyond `MAX`.
    pub(crate) count: usize,
}

impl<'a, const MAX: usize> Deserialize<'a> for Members<'a, MAX> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<const MAX: usize>;
        impl<'a, const MAX: usize> Visitor<'a> for Read<MAX> {
            type Value = Members<'a, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while members.len() < MAX {
                    match map.next_entry::<Text<'a>, &'a RawValue>()? {
                        Some((Text(name), value)) => members.push((name, value)),
                        None => break,
                    }
                }
                let mut count = members.len();
                while count >= MAX && map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Members { members, count })
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// The first `MAX` elements of an array.
pub(crate) struct Elements<'a, const MAX: usize> {
    pub(crate) elements: Vec<&'a RawValue>,
    /// Number of elements, including those beyond `MAX`.
    pub(crate) count: usize,
}

impl<'a, const MAX: usize> Deserialize<'a> for Elements<'a, MAX> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<const MAX: usize>;
        impl<'a, const MAX: usize> Visitor<'a> for Read<MAX> {
            type Value = Elements<'a, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while elements.len() < MAX {
                    match array.next_element()? {
                        Some(element) => elements.push(element),
                        None => break,
                    }
                }
                let mut count = elements.len();
                while count >= MAX && array.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Elements { elements, count })
            }
        }
        deserializer.deserialize_seq(Read)
    }
}

/// The kind of a JSON value, with its article.
pub(crate) fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}
