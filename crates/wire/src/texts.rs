//! Labels and annotations as a sender wrote them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Maximum number of members that are kept of one map.
pub const MAX_TEXTS: usize = 128;

/// A text; borrowed unless it has escapes. A number or a boolean is read as its JSON text, null as an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

/// A string of JSON; borrowed unless it has escapes.
struct Quoted<'a>(Cow<'a, str>);

// Derived, it would be a newtype, whose name is lost in the path of an error.
impl<'de: 'a, 'a> Deserialize<'de> for Quoted<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Characters;
        impl<'de> Visitor<'de> for Characters {
            type Value = Quoted<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Quoted(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Quoted(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Characters)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&'de RawValue>::deserialize(deserializer)?.get();
        match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Quoted<'de>>(text)
                .map(|quoted| Self(quoted.0))
                .map_err(|error| Error::custom(format!("is not a valid JSON string: {error}"))),
            Some(b'{') => Err(Error::custom("is an object; expected a text")),
            Some(b'[') => Err(Error::custom("is a list; expected a text")),
            Some(b'n') => Ok(Self::default()),
            _ => Ok(Self(Cow::Borrowed(text))),
        }
    }
}

/// The first [`MAX_TEXTS`] members of a map of texts, by name; of equal names the last one. A null member is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    cut: bool,
}

impl<'a> Texts<'a> {
    /// The text of that name. To Prometheus an empty label is absent, and so it is here.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let position = self.position(name).ok()?;
        let text: &str = &self.members[position].1;
        (!text.is_empty()).then_some(text)
    }

    /// Whether there is a member of that name, empty or not.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.position(name).is_ok()
    }

    /// The members in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, text)| (&**name, &**text))
    }

    /// Whether there were more than [`MAX_TEXTS`] members.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> Texts<'static> {
        let owned = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        let members = self.members.into_iter();
        Texts {
            members: members.map(|(name, text)| (owned(name), owned(text))).collect(),
            cut: self.cut,
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Cow<'a, str>)> for Texts<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>>(members: I) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by(|one, other| one.0.cmp(&other.0));
        members.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        Self { members, cut: false }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Texts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Texts<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while members.len() < MAX_TEXTS {
                    match map.next_entry::<Quoted<'de>, Option<Text<'de>>>()? {
                        Some((Quoted(name), Some(Text(text)))) => members.push((name, text)),
                        Some((_, None)) => {}
                        None => return Ok(members.into_iter().collect()),
                    }
                }
                let mut texts: Texts<'de> = members.into_iter().collect();
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    texts.cut = true;
                }
                Ok(texts)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Texts<'_> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn numbers_are_texts_and_nulls_are_absent() {
        let texts = read(
            r#"{"n":1.50,"big":18446744073709551616,"b":true,"none":null,"empty":"","s":"a\nb","s":"last","a":"first"}"#,
        );
        let expected = [
            ("a", "first"),
            ("b", "true"),
            ("big", "18446744073709551616"),
            ("empty", ""),
            ("n", "1.50"),
            ("s", "last"),
        ];
        assert_eq!(texts.iter().collect::<Vec<_>>(), expected);
        assert_eq!((texts.get("empty"), texts.contains("empty")), (None, true));
        assert!(!texts.contains("none"));
        assert_eq!(texts.get("n"), Some("1.50"));
    }

    #[test]
    fn nested_values_are_errors() {
        for text in [
            r#"{"a":{}}"#,
            r#"{"a":[1]}"#,
            "[]",
            "7",
            r#""a""#,
            r#"{"a":"\ud800"}"#,
        ] {
            assert!(serde_json::from_str::<Texts<'_>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_first_members_are_kept() {
        let members = |count: usize| {
            let members: Vec<String> = (0..count).map(|number| format!(r#""{number}":"""#)).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(!read(&members(MAX_TEXTS)).is_cut());
        let text = members(MAX_TEXTS + 1);
        let cut = read(&text);
        assert_eq!((cut.is_cut(), cut.iter().count()), (true, MAX_TEXTS));
    }
}
