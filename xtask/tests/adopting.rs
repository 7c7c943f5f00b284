//! Another team adopts the runner, with a repository that has only a stack file and the files that it names. The example
//! in `examples/silences` is copied out of this workspace and run by an installed `xtask`.

#![cfg(test)]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// The root of this workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns a command without the variables that cargo sets for the programs that it runs.
fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    let is_set_by_cargo = |name: &str| {
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_set_by_cargo)) {
        command.env_remove(name);
    }
    command.env_remove("CARGO").env_remove("KUBE_EMBEDDED_BIN");
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", shown(&output));
    output
}

fn shown(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

/// Installs the two programs as in docs/adopting.md, from the target folder of this build.
fn install(root: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_xtask")).ancestors().nth(2).unwrap();
    for package in ["xtask", "crates/kube-embedded"] {
        let mut install = command("cargo");
        install.args(["install", "--locked", "--debug", "--path"]);
        install.arg(workspace().join(package)).arg("--root").arg(root);
        succeeds(install.env("CARGO_TARGET_DIR", target));
    }
    root.join("bin/xtask")
}

fn copy_of_example(to: &Path) {
    support::copy_folder(&workspace().join("examples/silences"), to).unwrap();
}

fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} must have {from}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

/// Returns id, outcome and detail of each scenario in a report.
fn scenarios(report: &serde_json::Value) -> Vec<(String, String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let tests = report["tests"].as_array().unwrap().iter();
    tests
        .map(|test| (text(&test["id"]), text(&test["outcome"]), text(&test["detail"])))
        .collect()
}

#[test]
fn repository_with_only_a_stack_file_is_built_deployed_and_tested() {
    let scratch = tempfile::tempdir().unwrap();
    let repository = scratch.path().join("silences");
    copy_of_example(&repository);
    let xtask = install(scratch.path());
    // Kept between runs of this test, so that only the example itself is compiled again.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("adopting");
    let e2e_command = || {
        let mut e2e = command(&xtask);
        e2e.args(["e2e", "--provider", "local", "--format", "json"]);
        // The stack file alone determines the repository.
        e2e.arg("--stack").arg(repository.join("deploy/stack.toml"));
        e2e.current_dir(scratch.path());
        e2e.env("CARGO_TARGET_DIR", &target).env("CI", "true");
        e2e
    };
    let e2e = || e2e_command().output().unwrap();
    let report = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", shown(output)))
    };

    let output = e2e();
    let good = report(&output);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let passed = |id: &str| (id.to_owned(), "passed".to_owned(), String::new());
    assert_eq!(scenarios(&good), ["n01", "n02", "n03"].map(passed));
    let run = target.join("e2e").join(good["run"]["id"].as_str().unwrap());
    let left = fs::read_dir(run.join("processes")).unwrap().count();
    assert_eq!(left, 0, "processes of the stack must be gone");
    let migrated = fs::read_to_string(run.join("logs/schema.log")).unwrap();
    assert!(migrated.contains("1 migrations applied"), "{migrated}");

    // On a kept stack it passes again and again, and a filter selects.
    for (more, expected) in [(&["n01"][..], 1), (&[], 3), (&[], 3)] {
        let output = e2e_command().arg("--keep").args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
        assert_eq!(scenarios(&report(&output)).len(), expected);
    }
    let mut down = command(&xtask);
    succeeds(
        down.arg("down")
            .current_dir(&repository)
            .env("CARGO_TARGET_DIR", &target),
    );

    // Two shards at the same time, and their merged report.
    let shard = |shard: &str| {
        let mut e2e = e2e_command();
        e2e.args(["--shard", shard])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        e2e.spawn().unwrap()
    };
    let outputs = [shard("1/2"), shard("2/2")].map(|child| child.wait_with_output().unwrap());
    let runs = outputs.each_ref().map(|output| {
        assert!(output.status.success(), "{}", shown(output));
        target
            .join("e2e")
            .join(report(output)["run"]["id"].as_str().unwrap())
    });
    let merged = |runs: &[PathBuf]| {
        let mut merge = command(&xtask);
        merge
            .arg("merge-reports")
            .args(runs)
            .arg("--output")
            .arg(scratch.path().join("merged"));
        let output = merge.output().unwrap();
        let text = fs::read(scratch.path().join("merged/report.json")).unwrap();
        (
            output.status.code(),
            serde_json::from_slice::<serde_json::Value>(&text).unwrap(),
        )
    };
    let (code, whole) = merged(&runs);
    let mut ended = scenarios(&whole);
    ended.sort();
    assert_eq!(ended, ["n01", "n02", "n03"].map(passed));
    assert_eq!(code, Some(0));
    let (code, half) = merged(&runs[..1]);
    assert_eq!(code, Some(3), "a shard without a report has not passed");
    assert_eq!(
        half["failures"][0]["text"],
        "shard 2/2 left no report: its scenarios did not run"
    );

    // A failing scenario of the team fails the run, and its message is in the report.
    replace(&repository.join("src/http.rs"), "7 * 24 * 60", "700 * 24 * 60");
    let output = e2e();
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let failed: Vec<_> = scenarios(&report(&output))
        .into_iter()
        .filter(|(_, outcome, _)| outcome != "passed")
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, "n02");
    assert!(
        failed[0].2.contains("status of PUT: expected 400, found 204"),
        "{}",
        failed[0].2
    );
    fs::remove_dir_all(target.join("e2e")).unwrap();
}

#[test]
fn missing_embedded_kubernetes_api_is_reported_with_its_installation() {
    let scratch = tempfile::tempdir().unwrap();
    let repository = scratch.path().join("silences");
    copy_of_example(&repository);
    let mut e2e = command(env!("CARGO_BIN_EXE_xtask"));
    e2e.args(["e2e", "--provider", "local", "--stack", "deploy/stack.toml"]);
    let absent = scratch.path().join("kube-embedded");
    e2e.env("KUBE_EMBEDDED_BIN", &absent)
        .env("CI", "true")
        .env_remove("CARGO_TARGET_DIR");
    let output = e2e.current_dir(&repository).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    let text = shown(&output);
    assert!(
        text.contains("cargo install --path crates/kube-embedded"),
        "{text}"
    );
}

/// Returns the program in a folder, as an installed one.
fn installed_in(folder: &Path) -> Command {
    let mut xtask = command(env!("CARGO_BIN_EXE_xtask"));
    xtask
        .current_dir(folder)
        .env_remove("CARGO_TARGET_DIR")
        .env("CI", "true");
    xtask
}

#[test]
fn folder_without_a_stack_file_is_rejected_and_nothing_is_built() {
    let scratch = tempfile::tempdir().unwrap();
    for verb in [&["e2e"][..], &["e2e", "watch"], &["e2e", "--plan"]] {
        let output = installed_in(scratch.path()).args(verb).output().unwrap();
        let text = shown(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let message = format!("no deploy/stack.toml in {}", scratch.path().display());
        assert!(text.contains(&message) && text.contains("--stack FILE"), "{text}");
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// A scenario that a Redis of the stack answers.
const CHECK: &str = r"
import json, socket, sys, urllib.parse
stack = json.load(open(sys.argv[sys.argv.index('--stack') + 1]))
url = urllib.parse.urlsplit(stack['components']['stream']['redis'])
redis = socket.create_connection((url.hostname, url.port))
redis.sendall(f'AUTH {url.password}\r\nPING\r\n'.encode())
answer = b''
while b'PONG' not in answer: answer += redis.recv(100) or sys.exit(answer)
names = {'id': 'r01', 'name': 'r01_redis_answers'}
print(json.dumps({'event': 'started', **names}))
print(json.dumps({'event': 'finished', **names, 'outcome': 'passed', 'seconds': 0.1, 'reason': None, 'detail': None}))
print(json.dumps({'event': 'summary', 'passed': 1, 'failed': 0, 'skipped': 0, 'seconds': 0.1}))
";

#[test]
fn stack_needs_no_cargo_and_no_service() {
    let scratch = tempfile::tempdir().unwrap();
    let deploy = scratch.path().join("deploy");
    fs::create_dir_all(scratch.path().join("docs/deep")).unwrap();
    fs::create_dir_all(&deploy).unwrap();
    fs::write(
        deploy.join("stack.toml"),
        r#"
[stack]
name = "only-redis"
namespace = "only-redis"
secrets = ["stream-password"]

[components.stream]
image = "quay.io/sclorg/redis-7-c9s:latest"
manifest = "stream.yaml"
embedded = "redis"
ports.redis = { container = 6379, host = 24381 }
urls.redis = "redis://:{{ secrets['stream-password'] }}@127.0.0.1:{{ ports.stream.redis.host }}/0"

[test]
command = ["python3", "check.py"]
"#,
    )
    .unwrap();
    fs::write(deploy.join("check.py"), CHECK).unwrap();
    fs::write(
        deploy.join("stream.yaml"),
        "apiVersion: v1\nkind: Service\nmetadata: { name: stream }\n",
    )
    .unwrap();
    let plan = |provider| {
        let mut plan = installed_in(scratch.path());
        plan.args(["e2e", "--provider", provider, "--plan", "--format", "json"]);
        let plan: serde_json::Value = serde_json::from_slice(&succeeds(&mut plan).stdout).unwrap();
        let tasks = plan["tasks"].as_array().unwrap().iter();
        let test = tasks.clone().find(|task| task["name"] == "test").unwrap();
        let after = test["after"].as_array().unwrap().iter();
        after
            .map(|edge| edge["task"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for provider in ["local", "kind"] {
        assert_eq!(plan(provider), ["stream", "base", "compile"]);
    }
    // From a folder below, with a cargo that always fails.
    let programs = scratch.path().join("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(which::which("false").unwrap(), programs.join("cargo")).unwrap();
    let path = env::join_paths(
        [programs]
            .into_iter()
            .chain(env::split_paths(&env::var_os("PATH").unwrap())),
    );
    let mut e2e = installed_in(&scratch.path().join("docs/deep"));
    let built = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("kube-embedded");
    e2e.env("KUBE_EMBEDDED_BIN", built).env("PATH", path.unwrap());
    let output = e2e
        .args(["e2e", "--provider", "local", "--format", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let passed = ("r01".to_owned(), "passed".to_owned(), String::new());
    assert_eq!(scenarios(&report), [passed]);
    let run = scratch
        .path()
        .join("target/e2e")
        .join(report["run"]["id"].as_str().unwrap());
    assert!(run.join("report.html").is_file(), "{}", shown(&output));
}
