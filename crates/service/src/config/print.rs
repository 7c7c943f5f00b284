//! `--print-config`: the effective configuration as TOML, each key with its doc comment.

use std::fmt::Write;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value};

/// Returns the configuration as TOML. The comments are the doc comments of the fields; unset keys are comments, too.
/// `prefix` is that of the environment variables. Secrets are in files, so that none is printed.
///
/// # Errors
/// The configuration cannot be serialized.
pub fn print<T: Serialize + JsonSchema>(config: &T, prefix: &str) -> anyhow::Result<String> {
    let schema = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>();
    let schema = schema.to_value();
    let values = serde_json::to_value(config)?;
    let mut text = format!(
        "# The effective configuration. A key KEY of [SECTION] can also be set as {prefix}__SECTION__KEY.\n"
    );
    let (sections, keys): (Vec<_>, Vec<_>) = properties(&schema)
        .into_iter()
        .partition(|(name, _)| values.get(name.as_str()).is_some_and(Value::is_object));
    for (name, schema) in keys {
        text.push('\n');
        key(&mut text, name, schema, values.get(name.as_str()))?;
    }
    for (name, schema) in sections {
        let values = values.get(name.as_str());
        text.push('\n');
        comment(&mut text, schema);
        writeln!(text, "[{name}]")?;
        for (key_name, schema) in properties(schema) {
            key(
                &mut text,
                key_name,
                schema,
                values.and_then(|values| values.get(key_name)),
            )?;
        }
    }
    Ok(text)
}

fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::iter).collect()
}

fn key(text: &mut String, name: &str, schema: &Value, value: Option<&Value>) -> anyhow::Result<()> {
    comment(text, schema);
    match value {
        Some(value) if !value.is_null() => writeln!(text, "{name} = {}", toml::Value::try_from(value)?)?,
        _ => writeln!(text, "# {name} =")?,
    }
    Ok(())
}

fn comment(text: &mut String, schema: &Value) {
    let description = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    for line in description.lines() {
        text.push_str("# ");
        text.push_str(line);
        text.push('\n');
    }
}

/// Returns the keys without a doc comment, for a service's test.
#[must_use]
pub fn undocumented<T: JsonSchema>() -> Vec<String> {
    let schema = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    let mut missing = Vec::new();
    for (section, schema) in properties(&schema) {
        for (path, schema) in std::iter::once((section.clone(), schema)).chain(
            properties(schema)
                .into_iter()
                .map(|(key, schema)| (format!("{section}.{key}"), schema)),
        ) {
            if schema.get("description").is_none() {
                missing.push(path);
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::config::sections::{Auth, Http};

    /// A configuration.
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    struct Config {
        /// The name.
        name: String,
        /// Listeners.
        http: Http,
        /// Clients.
        auth: Auth,
    }

    #[test]
    fn prints_doc_comments_values_and_unset_keys() {
        let text = print(&Config::default(), "SVC").unwrap();
        for line in [
            "# A key KEY of [SECTION] can also be set as SVC__SECTION__KEY.",
            "# Listeners.\n[http]\n",
            "# Address of the API.\napi = \"0.0.0.0:8080\"\n",
            "# Maximum body size in bytes.\nmax_body_bytes = 262144\n",
            "\n# kubeconfig =\n",
        ] {
            assert!(
                text.contains(line.trim_start_matches("# A")),
                "{line} is not in\n{text}"
            );
        }
        let read: Config = toml::from_str(&text).unwrap();
        assert_eq!(read.http, Http::default());
        assert_eq!(undocumented::<Config>(), Vec::<String>::new());
    }
}
