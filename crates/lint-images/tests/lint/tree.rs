//! Temporary repository, and the program run in it.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

pub(crate) const MINIMAL: &str = "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nUSER 1001\n";

/// Policy of a repository other than this one.
pub(crate) const POLICY: &str = r#"
version = 1
[policy]
name = "house rules"
document = "POLICY.md"
[sections]
registry = "Where from"
[levels]
hygiene = "off"
[[registries]]
tier = "required"
registry = "registry.access.redhat.com"
[[images]]
match = ["registry.access.redhat.com/ubi9/go-toolset"]
replaces = ["docker.io/library/golang"]
build = { tag = "minor", at-least = "1.20", below = "2", pin = "1.25" }
[[images]]
match = ["registry.access.redhat.com/ubi9/ubi-minimal"]
runtime = { tag = "latest" }
[[workloads]]
match = ["quay.io/own/*"]
reason = "own images"
"#;

/// Repository in a temporary folder.
pub(crate) struct Tree {
    pub(crate) folder: tempfile::TempDir,
}

impl Tree {
    pub(crate) fn new(files: &[(&str, &str)]) -> Tree {
        let tree = Tree {
            folder: tempfile::tempdir().unwrap(),
        };
        tree.git(&["init", "--quiet"]);
        tree.write(".image-policy.toml", POLICY);
        files.iter().for_each(|(path, text)| tree.write(path, text));
        tree
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn lint(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lint-images"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.lint(&[&["--format", "json"], arguments].concat());
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Returns the rules of a document's findings.
pub(crate) fn rules(document: &Value) -> Vec<&str> {
    document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect()
}
