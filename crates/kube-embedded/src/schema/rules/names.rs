//! Names of fields in rules and their paths.

use serde_json::Value;

/// Words of the language, which fields have between underscores.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// Parts of names that are no identifiers.
const ESCAPES: &[(&str, &str)] = &[
    ("__underscores__", "__"),
    ("__dot__", "."),
    ("__dash__", "-"),
    ("__slash__", "/"),
];

/// The name of the property that an identifier stands for; `None` for an invalid escape.
pub(super) fn property_name(identifier: &str) -> Option<String> {
    let inner = identifier
        .strip_prefix("__")
        .and_then(|rest| rest.strip_suffix("__"));
    if let Some(word) = inner.filter(|word| RESERVED.contains(word)) {
        return Some(word.to_owned());
    }
    let mut name = String::new();
    let mut rest = identifier;
    while let Some(at) = rest.find("__") {
        name.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, text) = ESCAPES.iter().find(|(escape, _)| rest.starts_with(escape))?;
        name.push_str(text);
        rest = &rest[escape.len()..];
    }
    name.push_str(rest);
    Some(name)
}

/// The path of a rule's `fieldPath` as errors show it; `None` if the schema has no such field.
pub(super) fn field_path(source: &str, schema: &Value) -> Option<String> {
    let mut shown = String::new();
    let mut schema = schema;
    let mut rest = source;
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            (name, rest) = after.split_at(end);
        } else {
            let after = rest.strip_prefix("['")?;
            let end = after.find("']")?;
            name = &after[..end];
            rest = &after[end + 2..];
        }
        if let Some(property) = schema["properties"].get(name) {
            shown.push_str(&format!(".{name}"));
            schema = property;
        } else {
            let values = schema.get("additionalProperties").filter(|_| !name.is_empty())?;
            shown.push_str(&format!("[{name}]"));
            schema = values;
        }
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identifiers_stand_for_properties() {
        for (identifier, name) in [
            ("plain", Some("plain")),
            ("__namespace__", Some("namespace")),
            ("a__dash__b__dot__c__slash__d", Some("a-b.c/d")),
            ("a__underscores__b", Some("a__b")),
            ("a__b", None),
            ("__other__", None),
        ] {
            assert_eq!(property_name(identifier).as_deref(), name, "{identifier}");
        }
    }

    #[test]
    fn field_paths_name_fields_of_the_schema() {
        let schema = json!({"properties": {"a": {"properties": {"b": {}}}, "m": {"additionalProperties": {}}, "l": {"items": {}}}});
        for (path, shown) in [
            (".a.b", Some(".a.b")),
            (".m['x']", Some(".m[x]")),
            ("['a'].b", Some(".a.b")),
            (".zz", None),
            ("a", None),
            ("..a", None),
            (".l[0]", None),
        ] {
            assert_eq!(field_path(path, &schema).as_deref(), shown, "{path}");
        }
    }
}
