//! The simple JSON paths of printer columns and scale, in kubectl's dialect: `.a.b`, `.a[0]`, `.a['b.c']`, `.a.b\.c`,
//! `.a[?(@.type=="Ready")].b`. RFC 9535, which the crate implements, has the brackets but not these names.

use std::sync::LazyLock;

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::{QueryRef, js_path_process};
use regex::Regex;
use serde_json::Value;

/// A bracket, in which quoted text may have brackets, or a name, in which `\.` is an escaped dot.
#[expect(clippy::expect_used, reason = "a constant pattern, which the tests compile")]
static STEP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"\.?(\[(?:'[^']*'|"[^"]*"|[^\]'"])*\])|\.((?:\\.|[^.\[\\])+)"#).expect("a valid pattern")
});

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(JpQuery);

impl Default for Path {
    fn default() -> Self {
        Self(JpQuery::new(Vec::new()))
    }
}

impl Path {
    /// Parses a path.
    ///
    /// # Errors
    /// The unsupported part.
    pub fn parse(source: &str) -> Result<Self, String> {
        let source = source.trim();
        let path = source
            .strip_prefix('{')
            .and_then(|inner| inner.strip_suffix('}'))
            .unwrap_or(source);
        let mut rest = path.strip_prefix('$').unwrap_or(path);
        let mut segments = Vec::new();
        while !rest.is_empty() {
            let step = STEP.captures(rest).filter(|step| rest.starts_with(&step[0]));
            let step = step.ok_or_else(|| format!("{source} is not supported at {rest}"))?;
            match (step.get(1), step.get(2)) {
                (_, Some(name)) if name.as_str() == "*" => {
                    segments.push(Segment::Selector(Selector::Wildcard))
                }
                (_, Some(name)) => segments.push(Segment::name(&name.as_str().replace('\\', ""))),
                (bracket, None) => {
                    segments.extend(parse_bracket(bracket.map_or("", |bracket| bracket.as_str()))?)
                }
            }
            rest = &rest[step[0].len()..];
        }
        Ok(Self(JpQuery::new(segments)))
    }

    /// The values at the path.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let found = js_path_process(&self.0, value).unwrap_or_default();
        found.into_iter().map(QueryRef::val).collect()
    }

    /// As a JSON pointer, if it consists of keys only.
    #[must_use]
    pub fn pointer(&self) -> Option<String> {
        let keys = self.0.segments.iter().map(|segment| match segment {
            Segment::Selector(Selector::Name(key)) => {
                Some(format!("/{}", key.replace('~', "~0").replace('/', "~1")))
            }
            _ => None,
        });
        keys.collect()
    }
}

fn parse_bracket(bracket: &str) -> Result<Vec<Segment>, String> {
    // Unlike in the RFC, `!=` is false for an item without the field.
    let unequal = bracket
        .strip_prefix("[?(")
        .and_then(|rest| rest.strip_suffix(")]"))
        .filter(|condition| !condition.contains("=="))
        .and_then(|condition| condition.split_once("!="));
    let query = match unequal {
        Some((field, value)) => format!("$[?{field} && {field} != {value}]"),
        None => format!("${bracket}"),
    };
    parse_json_path(&query)
        .map(|query| query.segments)
        .map_err(|_| format!("{bracket} is not supported"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_values_in_the_dialect_of_kubectl() {
        let object = json!({
            "labels": {"a.b/c": "dotted", "app-name": "dashed"},
            "list": [1, 2, 3],
            "conditions": [
                {"type": "Ready", "status": "True", "count": 1},
                {"type": "a]b", "status": "False"},
                {"status": "Unknown"},
            ],
        });
        for (path, expected) in [
            (".labels.app-name", json!(["dashed"])),
            ("{.labels.app-name}", json!(["dashed"])),
            ("$.labels.app-name", json!(["dashed"])),
            (r".labels.a\.b/c", json!(["dotted"])),
            (".labels['a.b/c']", json!(["dotted"])),
            (r#"['labels']["a.b/c"]"#, json!(["dotted"])),
            (".list[0]", json!([1])),
            (".list[-1]", json!([3])),
            (".list[9]", json!([])),
            (".list[*]", json!([1, 2, 3])),
            (".list.*", json!([1, 2, 3])),
            (".conditions[*].type", json!(["Ready", "a]b"])),
            (r#".conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".conditions[?(@.type == 'a]b')].status", json!(["False"])),
            (r#".conditions[?(@.type!="Ready")].status"#, json!(["False"])),
            (".conditions[?(@.count==1)].status", json!(["True"])),
            (".missing.name", json!([])),
        ] {
            let found: Value = Path::parse(path)
                .unwrap()
                .find(&object)
                .into_iter()
                .cloned()
                .collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn returns_a_pointer_for_keys_only() {
        let pointer = |path| Path::parse(path).unwrap().pointer();
        assert_eq!(pointer(".spec.a/b['c.d']").as_deref(), Some("/spec/a~1b/c.d"));
        assert_eq!(pointer(".list[0]"), None);
        assert_eq!(pointer(".list[*]"), None);
    }

    #[test]
    fn rejects_other_paths() {
        for path in ["spec", ".", ".a..b", "..a", ".a[", ".a[b]", ".a[?(@.b==c)]"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }
}
