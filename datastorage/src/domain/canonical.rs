//! Canonical JSON: one text per value, so that the hashed text can be computed again from what PostgreSQL stores.
//!
//! As RFC 8785 (keys in the order of their UTF-16 units, no white space, its escapes), except for numbers: those are
//! exact decimals (`decimal`), since JSONB preserves every digit, where RFC 8785 would round them to doubles.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::decimal;
use super::fields::beginning;
use super::members::{Elements, Members, Text};

/// Maximum nesting depth of event data, including the outermost object.
pub(crate) const MAX_DEPTH: usize = 10;

/// Canonical JSON of event data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Canonical {
    /// The text.
    pub(crate) text: String,
    /// Bytes of PostgreSQL's text of it, which the database limits: one additional space after each comma and
    /// colon, and no exponents.
    pub(crate) stored_bytes: usize,
}

/// The form of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Normalised decimals.
    Exact,
    /// As they are in the text. Hash format 1 covers the digits that were stored, which were those of a double.
    Verbatim,
}

/// Why JSON cannot be stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("is more than {MAX_DEPTH} levels deep")]
    Depth,
    #[error("contains U+0000, which cannot be stored")]
    Nul,
    #[error(
        "contains {0}, which has too many digits: expected at most 131072 before and 16383 after the decimal point"
    )]
    Number(String),
    #[error("contains the key {0:?} twice in one object")]
    Duplicate(String),
    #[error("contains {0}")]
    Format(String),
}

/// Returns the canonical text of `value`.
pub(crate) fn canonical(value: &RawValue, numbers: Numbers) -> Result<Canonical, Flaw> {
    let mut writer = Writer {
        text: String::with_capacity(value.get().len()),
        additional_bytes: 0,
        numbers,
    };
    writer.value(value, 0)?;
    Ok(Canonical {
        stored_bytes: writer.text.len() + writer.additional_bytes,
        text: writer.text,
    })
}

struct Writer {
    text: String,
    /// Bytes that PostgreSQL's text has in addition.
    additional_bytes: usize,
    numbers: Numbers,
}

impl Writer {
    /// `depth` is that of the enclosing object or array.
    fn value(&mut self, value: &RawValue, depth: usize) -> Result<(), Flaw> {
        let text = value.get();
        match text.as_bytes().first() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => return Err(Flaw::Depth),
            Some(b'{') => self.object(text, depth + 1)?,
            Some(b'[') => self.array(text, depth + 1)?,
            Some(b'"') => {
                let string: Text<'_> = serde_json::from_str(text).map_err(|error| not_text(&error))?;
                self.string(&string.0)?;
            }
            Some(b'-' | b'0'..=b'9') if self.numbers == Numbers::Exact => self.number(text)?,
            // true, false, null, and numbers as they are.
            _ => self.text.push_str(text),
        }
        Ok(())
    }

    fn object(&mut self, text: &str, depth: usize) -> Result<(), Flaw> {
        let object: Members<'_, { usize::MAX }> =
            serde_json::from_str(text).map_err(|error| not_text(&error))?;
        let mut members = object.members;
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Flaw::Duplicate(beginning(&pair[0].0)));
        }
        self.text.push('{');
        for (index, (key, value)) in members.into_iter().enumerate() {
            self.separate(index);
            self.string(&key)?;
            self.text.push(':');
            self.additional_bytes += 1;
            self.value(value, depth)?;
        }
        self.text.push('}');
        Ok(())
    }

    fn array(&mut self, text: &str, depth: usize) -> Result<(), Flaw> {
        let array: Elements<'_, { usize::MAX }> =
            serde_json::from_str(text).map_err(|error| not_text(&error))?;
        self.text.push('[');
        for (index, value) in array.elements.into_iter().enumerate() {
            self.separate(index);
            self.value(value, depth)?;
        }
        self.text.push(']');
        Ok(())
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.text.push(',');
            self.additional_bytes += 1;
        }
    }

    fn string(&mut self, value: &str) -> Result<(), Flaw> {
        if string(&mut self.text, value) {
            Err(Flaw::Nul)
        } else {
            Ok(())
        }
    }

    fn number(&mut self, number: &str) -> Result<(), Flaw> {
        let begin = self.text.len();
        let stored = decimal::normalise(&mut self.text, number)
            .map_err(|decimal::OutOfRange| Flaw::Number(beginning(number)))?;
        self.additional_bytes += stored - (self.text.len() - begin);
        Ok(())
    }
}

/// The value was scanned before; only strings are interpreted here for the first time.
fn not_text(error: &serde_json::Error) -> Flaw {
    Flaw::Format(format!("a string that is not Unicode text: {error}"))
}

/// Writes `value` as a JSON string; returns whether it contains U+0000.
pub(crate) fn string(text: &mut String, value: &str) -> bool {
    text.push('"');
    if !value
        .bytes()
        .any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        text.push_str(value);
        text.push('"');
        return false;
    }
    let mut holds_nul = false;
    let mut written = 0;
    for (index, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        // Escaped characters are ASCII, so the index is a character boundary.
        text.push_str(&value[written..index]);
        written = index + 1;
        if escape.is_empty() {
            holds_nul |= byte == 0;
            // Writing into a String cannot fail.
            let _ = write!(text, "\\u{byte:04x}");
        } else {
            text.push_str(escape);
        }
    }
    text.push_str(&value[written..]);
    text.push('"');
    holds_nul
}

/// Writes a canonical object member by member. The names must be in order and need no escapes; a member whose value
/// is `None` is omitted.
pub(crate) struct ObjectWriter(String);

impl ObjectWriter {
    /// `capacity` is the approximate number of bytes.
    pub(crate) fn new(capacity: usize) -> Self {
        let mut text = String::with_capacity(capacity);
        text.push('{');
        Self(text)
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    /// A value that is already canonical JSON.
    pub(crate) fn json(&mut self, name: &str, canonical: &str) {
        self.name(name);
        self.0.push_str(canonical);
    }

    pub(crate) fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.name(name);
            string(&mut self.0, value);
        }
    }

    pub(crate) fn integer(&mut self, name: &str, value: Option<i32>) {
        if let Some(value) = value {
            self.name(name);
            let _ = write!(self.0, "{value}");
        }
    }

    pub(crate) fn uuid(&mut self, name: &str, value: Option<Uuid>) {
        if let Some(value) = value {
            self.name(name);
            let _ = write!(self.0, "\"{}\"", value.hyphenated());
        }
    }

    /// RFC 3339 with six fractional digits.
    pub(crate) fn time(&mut self, name: &str, value: Timestamp) {
        self.name(name);
        let _ = write!(self.0, "\"{value:.6}\"");
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, numbers: Numbers) -> Result<Canonical, Flaw> {
        canonical(serde_json::from_str(text).unwrap(), numbers)
    }

    fn text(value: &str) -> String {
        of(value, Numbers::Exact).unwrap().text
    }

    #[test]
    fn keys_are_in_the_order_of_utf16() {
        // RFC 8785, 3.2.3: U+1F600 (a surrogate pair, d83d) sorts before U+FB33.
        assert_eq!(
            text("{\"\u{fb33}\": 1, \"\\ud83d\\ude00\": 2, \"b\": 3, \"a\": {\"d\": 4, \"c\" : 5}}"),
            "{\"a\":{\"c\":5,\"d\":4},\"b\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
    }

    #[test]
    fn numbers_are_exact_and_verbatim_ones_stay_as_they_are() {
        let value = "[1.50,1e2,-0.0,0.30000000000000004,123456789012345678901234567890,true,null]";
        assert_eq!(
            text(value),
            "[1.50,100.0,0.0,0.30000000000000004,123456789012345678901234567890,true,null]"
        );
        assert_eq!(of(value, Numbers::Verbatim).unwrap().text, value);
    }

    #[test]
    fn strings_are_escaped_as_by_postgresql() {
        assert_eq!(
            text(r#""a\"\\\n\u0001\u007fé\/""#),
            "\"a\\\"\\\\\\n\\u0001\u{7f}é/\""
        );
    }

    #[test]
    fn size_is_that_of_postgresqls_text() {
        for (value, stored) in [
            (
                r#"{"a":[1,{"b":2}],"c":"x,y:z"}"#,
                r#"{"a": [1, {"b": 2}], "c": "x,y:z"}"#.len(),
            ),
            ("[1e30,-1e-30]", "[, ]".len() + 31 + 33),
        ] {
            assert_eq!(of(value, Numbers::Exact).unwrap().stored_bytes, stored, "{value}");
        }
    }

    #[test]
    fn reports_what_cannot_be_stored() {
        let deep = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(of(&deep(10), Numbers::Exact).is_ok());
        for (value, flaw) in [
            (deep(11), Flaw::Depth),
            (deep(100_000), Flaw::Depth),
            (r#"{"a": ["\u0000"]}"#.to_owned(), Flaw::Nul),
            (r#"{"\u0000": 1}"#.to_owned(), Flaw::Nul),
            (
                r#"[{"a": 1, "b": 2, "\u0061": 3}]"#.to_owned(),
                Flaw::Duplicate("a".to_owned()),
            ),
            ("[1e131072]".to_owned(), Flaw::Number("1e131072".to_owned())),
        ] {
            assert_eq!(of(&value, Numbers::Exact), Err(flaw));
        }
        let lone = of(r#"["\ud800"]"#, Numbers::Exact).unwrap_err().to_string();
        assert!(lone.contains("not Unicode text"), "{lone}");
    }
}
