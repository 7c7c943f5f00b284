//! Configuration: a TOML file, then environment variables, into a typed value. Every mistake is reported at once,
//! with the field, the value, what is wrong with it and what to write.
//!
//! The variable `PREFIX__SECTION__KEY` (two underscores between the parts) goes before `key` of `[section]` in the
//! file. Its value is read as TOML, and as a string where it is not TOML.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key with its sections, such as `postgresql.pool_size`.
    pub field: String,
    /// What stands there, if anything does. Never shown for fields that hold secrets: those are files.
    pub value: Option<String>,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl Mistake {
    /// A mistake at `field` with the value that stands there.
    pub fn new(field: &str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: Some(value.to_string()),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.field, self.reason),
            None => write!(f, "{}: {}", self.field, self.reason),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("configuration {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration {path} is not TOML:\n{source}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// All mistakes.
    #[error("configuration {path} has {} mistake{}:\n{}", .mistakes.len(), if .mistakes.len() == 1 { "" } else { "s" },
        .mistakes.iter().map(|mistake| format!("  {mistake}")).collect::<Vec<_>>().join("\n"))]
    Mistakes {
        /// The file.
        path: String,
        /// Each of them.
        mistakes: Vec<Mistake>,
    },
}

/// A configuration that knows more of itself than its types say.
pub trait Validate {
    /// Every mistake that the types let through.
    fn mistakes(&self) -> Vec<Mistake>;
}

/// Reads the configuration of a service from the file at `path` and the variables with `prefix` (such as `GATEWAY`).
///
/// # Errors
/// [`Error`]: unreadable, not TOML, or every mistake in it, unknown keys included.
pub fn load<T: DeserializeOwned + Validate>(path: &Path, prefix: &str) -> Result<T, Error> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: name.clone(),
        source,
    })?;
    parse(&name, &text, prefix, std::env::vars())
}

/// [`load`] for a text and variables at hand; `path` is for messages.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned + Validate>(
    path: &str,
    text: &str,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, Error> {
    let mut table: Table = text.parse().map_err(|source| Error::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let mut mistakes = override_from(&mut table, prefix, variables);
    let config = read_all::<T>(table, &mut mistakes);
    if let Some(config) = &config {
        let known: Vec<String> = mistakes.iter().map(|mistake| mistake.field.clone()).collect();
        // A field that was already reported stands at its default here: what that default breaks is no news.
        mistakes.extend(
            config
                .mistakes()
                .into_iter()
                .filter(|mistake| !known.contains(&mistake.field)),
        );
    }
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => Err(Error::Mistakes {
            path: path.to_owned(),
            mistakes,
        }),
    }
}

/// Puts the variables with the prefix into the table; what can't be put anywhere is a mistake.
fn override_from(
    table: &mut Table,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let start = format!("{prefix}__");
    for (name, text) in variables {
        let Some(rest) = name.strip_prefix(&start) else {
            continue;
        };
        let keys: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        let value = format!("value = {text}")
            .parse::<Table>()
            .ok()
            .and_then(|mut parsed| parsed.remove("value"))
            .unwrap_or(Value::String(text.clone()));
        if !insert(table, &keys, value) {
            let reason = format!(
                "a part of {} is not a section; write {start}SECTION__KEY",
                keys.join(".")
            );
            mistakes.push(Mistake::new(&name, text, reason));
        }
    }
    mistakes
}

fn insert(table: &mut Table, keys: &[String], value: Value) -> bool {
    match keys {
        [] => false,
        [key] => {
            table.insert(key.clone(), value);
            true
        }
        [section, rest @ ..] => {
            match table
                .entry(section.clone())
                .or_insert_with(|| Value::Table(Table::new()))
            {
                Value::Table(inner) => insert(inner, rest, value),
                _ => false,
            }
        }
    }
}

/// Deserializes, taking each wrong value out and trying again, so that one wrong value does not hide the next.
fn read_all<T: DeserializeOwned>(mut table: Table, mistakes: &mut Vec<Mistake>) -> Option<T> {
    loop {
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let value = serde_path_to_error::Deserializer::new(Value::Table(table.clone()), &mut track);
        let result = T::deserialize(serde_ignored::Deserializer::new(value, &mut note));
        match result {
            Ok(config) => {
                mistakes.extend(unknown.into_iter().map(|field| Mistake {
                    value: None,
                    reason: "no such key; remove it, or see --print-config for the keys there are".to_owned(),
                    field,
                }));
                return Some(config);
            }
            Err(error) => {
                let field = track.path().to_string();
                let keys: Vec<String> = field.split('.').map(str::to_owned).collect();
                let removed = remove(&mut table, &keys);
                let reason = error.to_string().trim().replace('\n', "; ");
                mistakes.push(Mistake {
                    field,
                    value: removed.as_ref().map(ToString::to_string),
                    reason,
                });
                removed.as_ref()?;
            }
        }
    }
}

fn remove(table: &mut Table, keys: &[String]) -> Option<Value> {
    match keys {
        [] => None,
        [key] => table.remove(key.split('[').next().unwrap_or(key)),
        [section, rest @ ..] => remove(table.get_mut(section)?.as_table_mut()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Config {
        http: Http,
        pool: Pool,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Http {
        port: u16,
        name: String,
    }
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Pool {
        size: u32,
    }
    impl Validate for Config {
        fn mistakes(&self) -> Vec<Mistake> {
            if self.pool.size > 100 {
                vec![Mistake::new("pool.size", self.pool.size, "at most 100")]
            } else {
                Vec::new()
            }
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn fields(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
        match parse::<Config>("c.toml", text, "SVC", variables(pairs)) {
            Ok(_) => Vec::new(),
            Err(Error::Mistakes { mistakes, .. }) => {
                mistakes.into_iter().map(|mistake| mistake.field).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_variable_goes_before_the_file() {
        let text = "[http]\nport = 1\nname = 'file'";
        let pairs = [
            ("SVC__HTTP__PORT", "2"),
            ("SVC__HTTP__NAME", "a.b:1"),
            ("OTHER__HTTP__PORT", "3"),
        ];
        let config: Config = parse("c.toml", text, "SVC", variables(&pairs)).unwrap();
        assert_eq!((config.http.port, config.http.name.as_str()), (2, "a.b:1"));
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "typo = 1\n[http]\nport = 70000\nname = 5\n[pool]\nsize = 500";
        let mut found = fields(text, &[]);
        found.sort();
        assert_eq!(found, ["http.name", "http.port", "pool.size", "typo"]);
    }

    #[test]
    fn a_mistake_shows_value_and_reason() {
        let error = parse::<Config>("c.toml", "[http]\nport = 70000", "SVC", variables(&[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("c.toml has 1 mistake:"), "{error}");
        assert!(
            error.contains("http.port = 70000") && error.contains("u16"),
            "{error}"
        );
    }

    #[test]
    fn a_variable_below_a_plain_value_is_refused() {
        assert_eq!(
            fields("http = { port = 1 }", &[("SVC__HTTP__PORT__X", "1")]),
            ["SVC__HTTP__PORT__X"]
        );
    }
}
