//! `--failed`, `--repeat`, `--until-failure`, `--retries` and `--slow`, with a test program whose second scenario fails as
//! often as a file says.

#![cfg(test)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const STACK: &str = r#"
[stack]
name = "rounds"
namespace = "rounds"

[test]
command = ["python3", "check.py"]
"#;

/// Writes each scenario that runs to `ran`.
const CHECK: &str = r"
import json, sys
filters = sys.argv[sys.argv.index('--stack') + 2:]
names = ['t01_always_passes', 't02_fails_sometimes']
names = [name for name in names if not filters or any(one in name for one in filters)]
emit = lambda **event: print(json.dumps(event), flush=True)
emit(event='planned', scenarios=len(names))
any_failed = False
for name in names:
    open('ran', 'a').write(name[:3] + ' ')
    detail = None
    if name.startswith('t02'):
        left = int(open('failures').read())
        if left > 0:
            open('failures', 'w').write(str(left - 1))
            detail = 'failed as wanted'
    any_failed |= detail is not None
    ids = {'id': name[:3], 'name': name}
    emit(event='started', **ids)
    emit(event='finished', **ids, outcome='failed' if detail else 'passed', seconds=1.5, reason=None, detail=detail)
emit(event='summary', passed=0, failed=0, skipped=0, seconds=0)
sys.exit(any_failed)
";

fn repository() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let deploy = root.path().join("deploy");
    fs::create_dir(&deploy).unwrap();
    fs::write(deploy.join("stack.toml"), STACK).unwrap();
    fs::write(deploy.join("check.py"), CHECK).unwrap();
    root
}

/// Runs the scenarios, of which the second one fails at first; returns the output, the report and what ran.
fn e2e(root: &Path, failures: u32, arguments: &[&str]) -> (Output, Value, String) {
    let deploy = root.join("deploy");
    fs::write(deploy.join("failures"), failures.to_string()).unwrap();
    fs::write(deploy.join("ran"), "").unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("kube-embedded");
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["e2e", "--provider", "local", "--format", "json"])
        .args(arguments)
        .current_dir(root)
        .env_remove("CARGO_TARGET_DIR")
        .env("KUBE_EMBEDDED_BIN", built)
        .env("CI", "true");
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let ran = fs::read_to_string(deploy.join("ran")).unwrap();
    (output, report, ran.trim_end().to_owned())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Outcome of each scenario.
fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let tests = report["tests"].as_array().unwrap().iter();
    tests
        .map(|test| (test["id"].as_str().unwrap(), test["outcome"].as_str().unwrap()))
        .collect()
}

#[test]
fn retry_that_passes_is_flaky_and_one_that_fails_is_a_failure() {
    let root = repository();
    let (output, report, ran) = e2e(root.path(), 1, &["--retries", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(ran, "t01 t02 t02");
    assert_eq!(outcomes(&report), [("t01", "passed"), ("t02", "flaky")]);
    let shown = text(&output);
    for line in [
        "2 scenarios: 1 passed, 1 flaky",
        "flaky t02_fails_sometimes: passed at retry 1; before: failed as wanted",
    ] {
        assert!(shown.contains(line), "{line} is not in:\n{shown}");
    }
    let (output, report, ran) = e2e(root.path(), 3, &["--retries", "2"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(ran, "t01 t02 t02 t02");
    assert_eq!(outcomes(&report), [("t01", "passed"), ("t02", "failed")]);
}

#[test]
fn rounds_repeat_all_and_end_with_a_failure_if_asked() {
    let root = repository();
    let (output, report, ran) = e2e(root.path(), 1, &["--repeat", "3", "--slow", "1"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(ran, "t01 t02 t01 t02 t01 t02");
    assert_eq!(outcomes(&report), [("t01", "passed"), ("t02", "failed")]);
    assert_eq!(report["tests"][1]["detail"], "in round 1: failed as wanted");
    assert!(
        text(&output).contains("1.50 s  t01_always_passes  slow"),
        "{}",
        text(&output)
    );

    let (output, _, ran) = e2e(root.path(), 1, &["--repeat", "3", "--until-failure"]);
    assert_eq!((output.status.code(), ran.as_str()), (Some(1), "t01 t02"));
    let (output, _, ran) = e2e(root.path(), 0, &["--repeat", "2", "--until-failure"]);
    assert_eq!((output.status.code(), ran.as_str()), (Some(0), "t01 t02 t01 t02"));
}

#[test]
fn failed_scenarios_of_an_earlier_run_run_alone() {
    let root = repository();
    let (output, ..) = e2e(root.path(), 0, &["--failed"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("no run of stack rounds has a report"),
        "{}",
        text(&output)
    );

    let (output, first, _) = e2e(root.path(), 1, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let (output, report, ran) = e2e(root.path(), 0, &["--failed"]);
    assert_eq!(
        (output.status.code(), ran.as_str()),
        (Some(0), "t02"),
        "{}",
        text(&output)
    );
    assert_eq!(outcomes(&report), [("t02", "passed")]);

    let (output, ..) = e2e(root.path(), 0, &["--failed"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output).contains("no scenario failed in run"),
        "{}",
        text(&output)
    );
    let named = format!("--failed={}", first["run"]["id"].as_str().unwrap());
    let (output, _, ran) = e2e(root.path(), 0, &[&named]);
    assert_eq!(
        (output.status.code(), ran.as_str()),
        (Some(0), "t02"),
        "{}",
        text(&output)
    );
}
