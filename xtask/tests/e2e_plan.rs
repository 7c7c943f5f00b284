//! `cargo xtask e2e --plan` and `--dry-run`: everything is printed, nothing runs.

#![cfg(test)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn xtask(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(arguments)
        .env_remove("KIND_NODE_IMAGE")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn plan_is_json_with_edges_on_stdout() {
    let output = xtask(&["e2e", "--provider", "kind", "--plan", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let tasks = plan["tasks"].as_array().unwrap();
    let after = |name: &str| -> Vec<String> {
        let task = tasks
            .iter()
            .find(|task| task["name"] == name)
            .unwrap_or_else(|| panic!("no task {name}"));
        let edges = task["after"].as_array().unwrap();
        edges
            .iter()
            .map(|edge| edge["task"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(after("cluster"), ["preflight", "check"]);
    assert_eq!(after("compile"), ["preflight", "check"]);
    assert_eq!(after("test"), ["datastorage", "gateway"]);
}

#[test]
fn dry_run_prints_the_commands_and_runs_none() {
    let output = xtask(&[
        "e2e",
        "--provider",
        "kind",
        "--dry-run",
        "--node-image",
        "example.com/node:1",
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let commands = text(&output.stdout);
    for expected in [
        "kind create cluster --retain --wait 0s --image example.com/node:1 --name kubernaut-e2e-RUN",
        "podman save --multi-image-archive quay.io/sclorg/postgresql-16-c9s:latest quay.io/sclorg/redis-7-c9s:latest | podman exec --interactive kubernaut-e2e-RUN-control-plane ctr",
        "cargo build --locked --package datastorage --package gateway",
        "podman rm --force --ignore --time 0 --volumes kubernaut-e2e-RUN-control-plane",
    ] {
        assert!(commands.contains(expected), "{expected} is not in:\n{commands}");
    }
    assert!(
        !Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/e2e/RUN")
            .exists()
    );
}

#[test]
fn invalid_stack_file_exits_2_with_all_problems() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.toml");
    let stack = "[stack]\nname = \"a\"\nnamespace = \"a\"\n[crds.x]\nmanifest = \"none.yaml\"\n\
                 [build]\ndockerfile = \"none\"\nglibc = \"2.34\"\n[test]\npackage = \"t\"\n";
    fs::write(&file, stack).unwrap();
    let output = xtask(&["e2e", "--plan", "--stack", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("stack.toml:5:12: x: no file none.yaml"),
        "{errors}"
    );
    assert!(
        errors.contains("stack.toml:7:14: build: no file none in"),
        "{errors}"
    );
}

#[test]
fn unknown_task_exits_2_with_the_known_tasks() {
    let output = xtask(&["e2e", "--provider", "kind", "--plan", "--only", "clutser"]);
    assert_eq!(output.status.code(), Some(2));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("unknown task \"clutser\"; known tasks: preflight, check, compile"),
        "{errors}"
    );
}
