//! The simple JSON paths of printer columns and scale: `.a.b`, `.a[0]`, `.a['b.c']`, `.a[?(@.type=="Ready")].b`.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(i64),
    All,
    Filter {
        path: Vec<String>,
        equal: bool,
        value: Value,
    },
}

impl Path {
    /// Parses a path.
    ///
    /// # Errors
    /// The unsupported part.
    pub fn parse(source: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let source = source.trim();
        let mut rest = source
            .strip_prefix('{')
            .and_then(|inner| inner.strip_suffix('}'))
            .unwrap_or(source);
        rest = rest.strip_prefix('$').unwrap_or(rest);
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let end = closing(inner).ok_or_else(|| format!("unclosed bracket in {source}"))?;
                steps.push(bracket(&inner[..end])?);
                rest = &inner[end + 1..];
            } else if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = name(after);
                if !name.is_empty() {
                    steps.push(if name == "*" { Step::All } else { Step::Key(name) });
                } else if !after.starts_with('[') {
                    return Err(format!("empty name in {source}"));
                }
                rest = after;
            } else {
                return Err(format!("{source} does not begin with a dot"));
            }
        }
        Ok(Self(steps))
    }

    /// The values at the path.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0.iter().fold(vec![value], |found, step| {
            found.into_iter().flat_map(|value| step.apply(value)).collect()
        })
    }

    /// As a JSON pointer, if it consists of keys only.
    #[must_use]
    pub fn pointer(&self) -> Option<String> {
        let keys = self.0.iter().map(|step| match step {
            Step::Key(key) => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            _ => None,
        });
        keys.collect()
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Key(key), Value::Object(map)) => map.get(key).into_iter().collect(),
            (Self::Index(index), Value::Array(list)) => {
                let at = if *index < 0 {
                    list.len() as i64 + index
                } else {
                    *index
                };
                usize::try_from(at)
                    .ok()
                    .and_then(|at| list.get(at))
                    .into_iter()
                    .collect()
            }
            (Self::All, Value::Array(list)) => list.iter().collect(),
            (Self::All, Value::Object(map)) => map.values().collect(),
            (
                Self::Filter {
                    path,
                    equal,
                    value: wanted,
                },
                Value::Array(list),
            ) => {
                let matches = |item: &&Value| {
                    let found = path.iter().try_fold(*item, |value, name| value.get(name));
                    found.is_some() && (found == Some(wanted)) == *equal
                };
                list.iter().filter(matches).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A name up to the next dot or bracket; `\.` is an escaped dot.
fn name(rest: &str) -> (String, &str) {
    let mut name = String::new();
    let mut letters = rest.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, next)| next)),
            '.' | '[' => return (name, &rest[at..]),
            other => name.push(other),
        }
    }
    (name, "")
}

/// The closing bracket, skipping quoted ones.
fn closing(inner: &str) -> Option<usize> {
    let mut quote = None;
    for (at, letter) in inner.char_indices() {
        match (quote, letter) {
            (None, ']') => return Some(at),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Some(condition) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        let (left, equal, right) = condition
            .split_once("==")
            .map(|(left, right)| (left, true, right))
            .or_else(|| {
                condition
                    .split_once("!=")
                    .map(|(left, right)| (left, false, right))
            })
            .ok_or_else(|| format!("a filter must be a comparison: {condition}"))?;
        let path = left
            .trim()
            .strip_prefix("@.")
            .ok_or_else(|| format!("a filter must begin with @.: {condition}"))?;
        let right = right.trim().replace('\'', "\"");
        let value = serde_json::from_str(&right).map_err(|_| format!("invalid value: {right}"))?;
        return Ok(Step::Filter {
            path: path.split('.').map(Into::into).collect(),
            equal,
            value,
        });
    }
    if let Some(quote) = inner.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        return Ok(Step::Key(inner.trim_matches(quote).to_owned()));
    }
    inner
        .parse()
        .map(Step::Index)
        .map_err(|_| format!("[{inner}] is not supported"))
}
