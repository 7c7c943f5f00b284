//! Cases in `tests/cases`: each folder has the files of a repository, and in `case.toml` the runs with their results.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::tree::{Tree, code};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the case shows.
    #[allow(dead_code, reason = "is for readers of the case")]
    shows: String,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    #[serde(default)]
    arguments: Vec<String>,
    exit: i32,
    /// All findings: `PATH:LINE RULE`.
    #[serde(default)]
    findings: Vec<String>,
    /// All images, if given: `PATH:LINE IMAGE`, or the text of an image that is invalid or unknown.
    images: Option<Vec<String>>,
    /// All skipped inputs, if given: `PATH:LINE`.
    skipped: Option<Vec<String>>,
}

/// Policy of cases that have none: approves `quay.io/acme/*`.
const POLICY: &str = include_str!("../cases/image-policy.toml");

fn copy(from: &Path, tree: &Tree, prefix: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), tree, &format!("{path}/"));
        } else if path != "case.toml" {
            tree.write(&path, std::fs::read(entry.path()).unwrap());
        }
    }
}

/// Returns `PATH:LINE REST` of each object of an array, sorted.
fn lines(document: &Value, array: &str, rest: impl Fn(&Value) -> String) -> Vec<String> {
    let objects = document[array].as_array().unwrap();
    let mut lines: Vec<String> = objects
        .iter()
        .map(|each| {
            let line = if array == "references" {
                &each["token_line"]
            } else {
                &each["line"]
            };
            let at = format!("{}:{line}", each["path"].as_str().unwrap());
            format!("{at} {}", rest(each)).trim_end().to_owned()
        })
        .collect();
    lines.sort();
    lines
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

fn check(folder: &Path) {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let case: Case = toml::from_str(&std::fs::read_to_string(folder.join("case.toml")).unwrap())
        .map_err(|error| format!("{name}: {error}"))
        .unwrap();
    for run in case.runs {
        let tree = Tree::new(&[(".image-policy.toml", POLICY)]);
        copy(folder, &tree, "");
        let arguments: Vec<&str> = run.arguments.iter().map(String::as_str).collect();
        let output = tree.lint(&[&["--format", "json"], &arguments[..]].concat());
        let document: Result<Value, _> = serde_json::from_slice(&output.stdout);
        let document = document
            .map_err(|error| format!("{name}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
            .unwrap();
        let shown = format!("{name} {arguments:?}: {document:#}");
        let findings = lines(&document, "findings", |each| {
            each["rule"].as_str().unwrap().to_owned()
        });
        assert_eq!(findings, sorted(&run.findings), "{shown}");
        if let Some(images) = run.images {
            let text = |each: &Value| {
                each["normalized"]
                    .as_str()
                    .or(each["raw"].as_str())
                    .unwrap()
                    .to_owned()
            };
            assert_eq!(lines(&document, "references", text), sorted(&images), "{shown}");
        }
        if let Some(skipped) = run.skipped {
            assert_eq!(
                lines(&document, "skipped", |_| String::new()),
                sorted(&skipped),
                "{shown}"
            );
        }
        assert_eq!(code(&output), run.exit, "{shown}");
    }
}

#[test]
fn cases_have_their_results() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let folders = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    assert!(folders.len() > 10, "only {} cases found", folders.len());
    let failed: Vec<_> = folders
        .iter()
        .filter(|folder| std::panic::catch_unwind(|| check(folder)).is_err())
        .collect();
    assert_eq!(failed, Vec::<&std::path::PathBuf>::new());
}
