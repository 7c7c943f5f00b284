//! The schema of report.json, derived from the types that write it, is up to date and describes every field.

use std::fs;

use serde_json::Value;

use crate::document::Document;
use crate::fixture;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/report.schema.json");

fn schema() -> Value {
    schemars::schema_for!(Document).to_value()
}

#[test]
fn the_documented_schema_is_up_to_date() {
    let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    let documented = fs::read_to_string(SCHEMA).unwrap_or_default();
    if documented != current {
        let fresh = std::env::temp_dir().join("report.schema.json");
        fs::write(&fresh, current).unwrap();
        panic!(
            "docs/report.schema.json is out of date; copy {} over it",
            fresh.display()
        );
    }
}

#[test]
fn the_schema_describes_every_field() {
    let schema = schema();
    for report in [fixture::passed(), fixture::failed()] {
        let document: Value = serde_json::to_value(Document::new(&report)).unwrap();
        for (field, value) in document.as_object().unwrap() {
            let described = &schema["properties"][field];
            assert!(described.is_object(), "{field} is not in the schema");
            let Some(items) = described["items"]["$ref"].as_str() else {
                continue;
            };
            let item = &schema["$defs"][items.rsplit('/').next().unwrap()]["properties"];
            for (name, _) in value
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|value| value.as_object().unwrap())
            {
                assert!(
                    item[name].is_object() || item[name] == Value::Bool(true),
                    "{field}.{name} is not in the schema"
                );
                let text = item[name]["description"].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{field}.{name} has no description");
            }
        }
    }
}
