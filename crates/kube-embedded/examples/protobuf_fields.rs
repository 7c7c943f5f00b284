//! Generates `src/builtin/protobuf.json`: the field numbers of the built-in types that kubectl and typed clients send
//! in binary. They are in the tags of the Go types; unpack the modules `k8s.io/api`, `k8s.io/apimachinery` and
//! `k8s.io/apiextensions-apiserver` beside each other (`go mod download`, or their zips) and pass the folder.
//!
//! ```sh
//! cargo run -p kube-embedded --example protobuf_fields -- FOLDER > crates/kube-embedded/src/builtin/protobuf.json
//! ```
//!
//! A type is a map from number to JSON name. A name that ends in `?` is omitted when it is zero, as Go omits a
//! value that is not a pointer; a map in place of a name is an inlined type, whose fields belong to its owner.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use regex::Regex;
use serde_json::{Map, Value, json};

/// One field of a Go struct.
struct Field {
    kind: String,
    json: String,
    omitted_when_empty: bool,
    number: String,
}

type Types = BTreeMap<String, Vec<Field>>;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("usage: protobuf_fields FOLDER")?;
    let api: Value = serde_json::from_str(include_str!("../src/builtin/api.json"))?;
    let mut types = Types::new();
    read_folder(Path::new(&folder), &mut types)?;
    let mut document = Map::new();
    for name in api["schemas"].as_object().context("no schemas")?.keys() {
        if types.contains_key(name) {
            document.insert(name.clone(), describe(name, &types)?);
        }
    }
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &Value::Object(document))?;
    writeln!(out)?;
    Ok(())
}

fn read_folder(folder: &Path, types: &mut Types) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_folder(&path, types)?;
        } else if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().ends_with("types.go") || name == "types_jsonschema.go")
        {
            let package = package_of(&path);
            read_file(&package, &std::fs::read_to_string(&path)?, types)?;
        }
    }
    Ok(())
}

/// `io.k8s.api.core.v1` of `k8s.io/api@v0.33.0/core/v1/types.go`.
fn package_of(path: &Path) -> String {
    let folder = path
        .parent()
        .map(|parent| parent.to_string_lossy().into_owned())
        .unwrap_or_default();
    let inside = folder.split("k8s.io/").last().unwrap_or_default();
    let parts = inside
        .split('/')
        .map(|part| part.split('@').next().unwrap_or(part));
    format!("io.k8s.{}", parts.collect::<Vec<_>>().join("."))
}

fn read_file(package: &str, source: &str, types: &mut Types) -> Result<()> {
    let line = Regex::new(r#"^\t(?:(\w+)\s+)?([\w.*\[\]]+)\s+`(.*)`"#)?;
    let tag = Regex::new(r#"json:"([^",]*)(,[^"]*)?"(?:\s+\w+:"[^"]*")*\s+protobuf:"\w+,(\d+),"#)?;
    let mut current: Option<String> = None;
    for text in source.lines() {
        if let Some(name) = text
            .strip_prefix("type ")
            .and_then(|rest| rest.strip_suffix(" struct {"))
        {
            current = Some(format!("{package}.{name}"));
        } else if text == "}" {
            current = None;
        }
        let (Some(name), Some(found)) = (&current, line.captures(text)) else {
            continue;
        };
        let Some(tags) = tag.captures(&found[3]) else {
            continue;
        };
        let options = tags.get(2).map_or("", |options| options.as_str());
        types.entry(name.clone()).or_default().push(Field {
            kind: found[2].to_owned(),
            json: tags[1].to_owned(),
            omitted_when_empty: options.contains("omitempty"),
            number: tags[3].to_owned(),
        });
    }
    Ok(())
}

fn describe(name: &str, types: &Types) -> Result<Value> {
    let fields = types
        .get(name)
        .with_context(|| format!("no Go type for {name}"))?;
    let mut described = Map::new();
    for field in fields {
        let value = if field.json.is_empty() {
            let (package, _) = name.rsplit_once('.').unwrap_or_default();
            let inner = field
                .kind
                .trim_start_matches('*')
                .rsplit('.')
                .next()
                .unwrap_or_default();
            describe(&format!("{package}.{inner}"), types)?
        } else {
            let zero = field.omitted_when_empty && !field.kind.starts_with('*');
            json!(format!("{}{}", field.json, if zero { "?" } else { "" }))
        };
        described.insert(field.number.clone(), value);
    }
    Ok(Value::Object(described))
}
