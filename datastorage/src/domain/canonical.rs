//! Canonical JSON: one text per value, so that the hashed text can be computed again from what PostgreSQL stores.
//!
//! As RFC 8785 (keys in the order of their UTF-16 units, no white space, its escapes), except for numbers: JSONB
//! preserves decimal digits, so that integers of 64 bits stay exact, where RFC 8785 would round them to a double, and
//! everything else is a double, written as its shortest digits with a decimal point and without an exponent. Negative
//! zero is zero.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Number, Value};
use uuid::Uuid;

/// Canonical JSON of an object of event data, with the measures that are limited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Canonical {
    /// The text.
    pub(crate) text: String,
    /// Bytes of PostgreSQL's text of it, which the database limits: one additional space after each comma and
    /// colon.
    pub(crate) stored_bytes: usize,
    /// Nesting depth of objects and arrays, including the outermost.
    pub(crate) depth: usize,
    /// Whether a string contains U+0000, which PostgreSQL cannot store.
    pub(crate) holds_nul: bool,
}

/// Returns the canonical text of `value` and its measures.
pub(crate) fn canonical(value: &Value) -> Canonical {
    let mut writer = Canonical {
        text: String::with_capacity(256),
        stored_bytes: 0,
        depth: 0,
        holds_nul: false,
    };
    let mut separators = 0;
    writer.value(value, 0, &mut separators);
    writer.stored_bytes = writer.text.len() + separators;
    writer
}

impl Canonical {
    fn value(&mut self, value: &Value, depth: usize, separators: &mut usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(true) => self.text.push_str("true"),
            Value::Bool(false) => self.text.push_str("false"),
            Value::Number(value) => number(&mut self.text, value),
            Value::String(value) => self.string(value),
            Value::Array(items) => {
                self.depth = self.depth.max(depth + 1);
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                        *separators += 1;
                    }
                    self.value(item, depth + 1, separators);
                }
                self.text.push(']');
            }
            Value::Object(members) => {
                self.depth = self.depth.max(depth + 1);
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
                self.text.push('{');
                for (index, (key, item)) in members.into_iter().enumerate() {
                    if index > 0 {
                        self.text.push(',');
                        *separators += 1;
                    }
                    self.string(key);
                    self.text.push(':');
                    *separators += 1;
                    self.value(item, depth + 1, separators);
                }
                self.text.push('}');
            }
        }
    }

    fn string(&mut self, value: &str) {
        self.holds_nul |= string(&mut self.text, value);
    }
}

/// Writes `value` as a JSON string; returns whether it contains U+0000.
pub(crate) fn string(text: &mut String, value: &str) -> bool {
    text.push('"');
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

fn number(text: &mut String, value: &Number) {
    let _ = if let Some(integer) = value.as_i64() {
        write!(text, "{integer}")
    } else if let Some(integer) = value.as_u64() {
        write!(text, "{integer}")
    } else {
        // `Display` of f64 writes the shortest digits that read back as the same value, without an exponent.
        let float = value.as_f64().unwrap_or_default();
        let point = if float.fract() == 0.0 { ".0" } else { "" };
        write!(text, "{}{point}", if float == 0.0 { 0.0 } else { float })
    };
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
    use serde_json::json;

    fn text(value: &Value) -> String {
        canonical(value).text
    }

    #[test]
    fn keys_are_in_the_order_of_utf16() {
        // RFC 8785, 3.2.3: U+1F600 (a surrogate pair, d83d) sorts before U+FB33.
        let value = json!({"\u{fb33}": 1, "\u{1f600}": 2, "b": 3, "a": {"d": 4, "c": 5}});
        assert_eq!(
            text(&value),
            "{\"a\":{\"c\":5,\"d\":4},\"b\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
    }

    #[test]
    fn numbers_have_one_form() {
        for (written, wanted) in [
            ("1", "1"),
            ("1.0", "1.0"),
            ("1.50", "1.5"),
            ("1e2", "100.0"),
            ("-0.0", "0.0"),
            ("0.1", "0.1"),
            ("1e-7", "0.0000001"),
            ("1e16", "10000000000000000.0"),
            ("1e23", "100000000000000000000000.0"),
            ("9223372036854775807", "9223372036854775807"),
            ("18446744073709551615", "18446744073709551615"),
            ("9.223372036854775808e18", "9223372036854776000.0"),
        ] {
            let value: Value = serde_json::from_str(written).unwrap();
            assert_eq!(text(&value), wanted, "{written}");
            let again: Value = serde_json::from_str(wanted).unwrap();
            assert_eq!(text(&again), wanted, "{written} read back");
        }
    }

    #[test]
    fn strings_are_escaped_as_by_postgresql() {
        assert_eq!(
            text(&json!("a\"\\\n\u{1}\u{7f}é/")),
            "\"a\\\"\\\\\\n\\u0001\u{7f}é/\""
        );
        assert!(canonical(&json!({"a": ["\0"]})).holds_nul);
        assert!(canonical(&json!({"\0": 1})).holds_nul);
        assert!(!canonical(&json!("\u{1}")).holds_nul);
    }

    #[test]
    fn depth_and_size_are_measured() {
        let measured = canonical(&json!({"a": [1, {"b": 2}], "c": "x,y:z"}));
        assert_eq!(measured.depth, 3);
        assert_eq!(
            measured.stored_bytes,
            r#"{"a": [1, {"b": 2}], "c": "x,y:z"}"#.len()
        );
        assert_eq!(canonical(&json!({})).depth, 1);
    }
}
