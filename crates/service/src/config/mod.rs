//! Configuration: a TOML file, then environment variables, into a typed value. Every error is reported at once, with
//! the field, the value, the reason and what to write.
//!
//! The variable `PREFIX__SECTION__KEY` (two underscores between the parts) overrides `key` of `[section]` in the
//! file. Its value is parsed as TOML, or taken as a string where it is not TOML.

mod print;
mod sections;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

pub use print::{print, undocumented};
pub use sections::{Auth, AuthMode, Environment, Http, Log, Stop};

/// One error in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key with its sections, such as `postgresql.pool_size`.
    pub field: String,
    /// The value, if there is one. Never a secret: those are in files.
    pub value: Option<String>,
    /// The error, and what to write instead.
    pub reason: String,
}

impl ConfigError {
    /// An error at `field` with its value.
    pub fn new(field: &str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: Some(value.to_string()),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.field, self.reason),
            None => write!(f, "{}: {}", self.field, self.reason),
        }
    }
}

/// Collects values out of their range.
pub struct Ranges<'a>(pub &'a mut Vec<ConfigError>);

impl Ranges<'_> {
    /// Adds an error if `value` is not allowed.
    pub fn check(&mut self, field: &str, value: u64, allowed: RangeInclusive<u64>) {
        if !allowed.contains(&value) {
            let reason = format!("write a number from {} to {}", allowed.start(), allowed.end());
            self.0.push(ConfigError::new(field, value, reason));
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {source}")]
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
    /// The configuration is invalid.
    #[error("invalid configuration {path}: {} error{}:\n{}", .errors.len(), if .errors.len() == 1 { "" } else { "s" },
        .errors.iter().map(|error| format!("  {error}")).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// The file.
        path: String,
        /// Each of them.
        errors: Vec<ConfigError>,
    },
}

/// Validation beyond the types of a configuration.
pub trait Validate {
    /// Sets what follows from other keys, before it is validated.
    fn complete(&mut self) {}

    /// Returns every error that the types do not exclude.
    fn errors(&self) -> Vec<ConfigError>;
}

/// Reads the configuration of a service from the file at `path` and the variables with `prefix` (such as `GATEWAY`).
///
/// # Errors
/// [`Error`]: unreadable, not TOML, or every error in it, unknown keys included.
pub fn load<T: DeserializeOwned + Serialize + Default + Validate>(
    path: &Path,
    prefix: &str,
) -> Result<T, Error> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: name.clone(),
        source,
    })?;
    parse(&name, &text, prefix, std::env::vars())
}

/// Like [`load`], from a text and variables; `path` is for messages.
///
/// # Errors
/// As [`load`].
pub fn parse<T: DeserializeOwned + Serialize + Default + Validate>(
    path: &str,
    text: &str,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<T, Error> {
    let mut table: Table = text.parse().map_err(|source| Error::Syntax {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let mut errors = override_from(&mut table, prefix, variables);
    let mut config = read_all::<T>(table, &mut errors);
    if let Some(config) = &mut config {
        config.complete();
        let known: Vec<String> = errors.iter().map(|error| error.field.clone()).collect();
        // A field that was already reported has its default here; errors of that default are not news.
        errors.extend(
            config
                .errors()
                .into_iter()
                .filter(|error| !known.contains(&error.field)),
        );
    }
    match config {
        Some(config) if errors.is_empty() => Ok(config),
        _ => Err(Error::Invalid {
            path: path.to_owned(),
            errors,
        }),
    }
}

/// Merges the variables with the prefix into the table; one that does not fit is an error.
fn override_from(
    table: &mut Table,
    prefix: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<ConfigError> {
    let mut errors = Vec::new();
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
            errors.push(ConfigError::new(&name, text, reason));
        }
    }
    errors
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

/// Deserializes over the service's defaults. Each invalid value is removed and the rest tried again, so that one error
/// does not hide the next.
fn read_all<T: DeserializeOwned + Serialize + Default>(
    mut table: Table,
    errors: &mut Vec<ConfigError>,
) -> Option<T> {
    loop {
        let mut merged = Table::try_from(T::default()).unwrap_or_default();
        merge(&mut merged, &table);
        let mut unknown = Vec::new();
        let mut track = serde_path_to_error::Track::new();
        let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let value = serde_path_to_error::Deserializer::new(Value::Table(merged), &mut track);
        let result = T::deserialize(serde_ignored::Deserializer::new(value, &mut note));
        match result {
            Ok(config) => {
                errors.extend(unknown.into_iter().map(|field| ConfigError {
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
                errors.push(ConfigError {
                    field,
                    value: removed.as_ref().map(ToString::to_string),
                    reason,
                });
                removed.as_ref()?;
            }
        }
    }
}

/// Overrides values of `table` by those of `other`, section by section.
fn merge(table: &mut Table, other: &Table) {
    for (key, value) in other {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(other)) => merge(inner, other),
            _ => _ = table.insert(key.clone(), value.clone()),
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

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Config {
        http: Http,
        pool: Pool,
    }
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Http {
        port: u16,
        name: String,
    }
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Pool {
        size: u32,
    }
    impl Validate for Config {
        fn errors(&self) -> Vec<ConfigError> {
            if self.pool.size > 100 {
                vec![ConfigError::new("pool.size", self.pool.size, "at most 100")]
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
            Err(Error::Invalid { errors, .. }) => errors.into_iter().map(|error| error.field).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn variable_overrides_the_file() {
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
    fn every_error_is_reported_at_once() {
        let text = "typo = 1\n[http]\nport = 70000\nname = 5\n[pool]\nsize = 500";
        let mut found = fields(text, &[]);
        found.sort();
        assert_eq!(found, ["http.name", "http.port", "pool.size", "typo"]);
    }

    #[test]
    fn error_contains_value_and_reason() {
        let error = parse::<Config>("c.toml", "[http]\nport = 70000", "SVC", variables(&[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains("invalid configuration c.toml: 1 error"), "{error}");
        assert!(
            error.contains("http.port = 70000") && error.contains("u16"),
            "{error}"
        );
    }

    #[test]
    fn variable_below_a_plain_value_is_rejected() {
        assert_eq!(
            fields("http = { port = 1 }", &[("SVC__HTTP__PORT__X", "1")]),
            ["SVC__HTTP__PORT__X"]
        );
    }
}
