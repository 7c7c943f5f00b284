//! Templates with strict variables: an unknown variable is an error with file, line, column and the known names.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, syntax::SyntaxConfig, value::Serde};
use serde_json::Value;

use crate::stack::shown;

/// Renders a file.
pub(crate) fn render_file(path: &Path, variables: &Value) -> anyhow::Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read the template {}", shown(path)))?;
    render(&shown(path), &text, variables)
}

/// Renders a text; `name` identifies it in errors.
pub(crate) fn render(name: &str, text: &str, variables: &Value) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    // Templates escape by `| tojson`: YAML and TOML are neither HTML nor JSON.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let rendered = environment.render_named_str(name, text, Serde(variables));
    rendered.or_else(|error| {
        let line = error.line().unwrap_or(1);
        // In characters, from 1; without the range of an expression the line's first character.
        let before = error
            .range()
            .and_then(|range| text.get(..range.start))
            .unwrap_or_default();
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        let what = error.detail().map_or_else(
            || error.kind().to_string(),
            |detail| format!("{}: {detail}", error.kind()),
        );
        let source = text
            .lines()
            .nth(line.saturating_sub(1))
            .unwrap_or_default()
            .trim();
        if error.kind() == ErrorKind::UndefinedError {
            let known = known_names(variables).join(", ");
            bail!("{name}:{line}:{column}: {what}\n  in: {source}\n  known names: {known}");
        }
        bail!("{name}:{line}:{column}: {what}\n  in: {source}")
    })
}

/// Returns the names that templates can use, such as `ports.gateway.api.host`.
fn known_names(variables: &Value) -> Vec<String> {
    let mut names = Vec::new();
    collect(variables, String::new(), &mut names);
    names
}

fn collect(value: &Value, prefix: String, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let simple = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let path = match (prefix.is_empty(), simple) {
                    (true, _) => name.clone(),
                    (false, true) => format!("{prefix}.{name}"),
                    (false, false) => format!("{prefix}['{name}']"),
                };
                collect(value, path, names);
            }
        }
        _ => names.push(prefix),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_name_is_an_error_with_its_position_and_known_names() {
        let variables =
            json!({"namespace": "n", "ports": {"gateway": {"api": {"host": 1}}}, "urls": {"a-b": "x"}});
        let text = "one\nport: {{ ports.gatway.api.host }}\n";
        let error = render("deploy/x.yaml", text, &variables).unwrap_err().to_string();
        assert!(
            error.starts_with("deploy/x.yaml:2:15: undefined value"),
            "{error}"
        );
        assert!(error.contains("in: port: {{ ports.gatway.api.host }}"), "{error}");
        assert!(
            error.contains("known names: namespace, ports.gateway.api.host, urls['a-b']"),
            "{error}"
        );
    }

    #[test]
    fn syntax_error_has_its_position() {
        let error = render("x", "a\nb\n{% if %}", &json!({})).unwrap_err().to_string();
        assert!(error.starts_with("x:3:7: syntax error"), "{error}");
    }

    #[test]
    fn does_not_escape_and_keeps_the_final_newline() {
        assert_eq!(
            render("x.html", "{{ a }}\n", &json!({"a": "<&>"})).unwrap(),
            "<&>\n"
        );
    }
}
