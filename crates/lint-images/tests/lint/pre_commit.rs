//! The hook as pre-commit runs it in another repository.
//!
//! `cargo test -p lint-images --features pre-commit --test lint pre_commit` in CI, as it needs python3, PyPI and another
//! build of the program. It tests the committed state, since pre-commit checks out a revision.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::tree::{MINIMAL, Tree};

/// Pinned, so that new releases do not change the result.
const PRE_COMMIT: &str = "pre-commit==4.7.0";
const MATURIN: &str = "maturin==1.9.4";

const FOREIGN: &str = "FROM docker.io/library/golang:1.24-alpine AS build\n\
                       FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nCOPY --from=build /app /app\nUSER 1001\n";

/// Returns the path of a folder that is kept between runs of this test.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Installs a package once into the target folder and returns the path of its program.
fn installed(package: &str) -> PathBuf {
    let folder = kept(&package.replace("==", "-"));
    let name = package.split("==").next().unwrap();
    let program = folder.join("bin").join(name);
    if !program.exists() {
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        succeeds(Command::new(folder.join("bin/pip")).args(["install", "--quiet", package]));
    }
    program
}

fn pre_commit() -> PathBuf {
    installed(PRE_COMMIT)
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", text(&output));
    text(&output)
}

/// Returns a command in the temporary repository, with pre-commit's cache in the target folder.
fn in_tree(tree: &Tree, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .args(arguments)
        .current_dir(tree.folder.path())
        .env("PRE_COMMIT_HOME", kept("pre-commit-home"))
        // pre-commit installs the program by `cargo install`. Its speed is measured elsewhere.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    command
}

fn commit(tree: &Tree) -> Output {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
    let commit = ["commit", "--quiet", "--message", "a change"];
    in_tree(tree, "git", &[&identity[..], &commit].concat())
        .output()
        .unwrap()
}

#[test]
fn rejects_commit_with_unapproved_image() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    let head = succeeds(
        Command::new("git")
            .args(["rev-parse", "HEAD"])
            .current_dir(&workspace),
    );
    let config = format!(
        "repos:\n  - repo: {}\n    rev: {}\n    hooks: [{{id: lint-images}}]\n",
        workspace.display(),
        head.trim()
    );
    let tree = Tree::new(&[("Dockerfile", MINIMAL), (".pre-commit-config.yaml", &config)]);
    succeeds(&mut in_tree(&tree, pre_commit(), &["install"]));

    tree.git(&["add", "--all"]);
    let good = commit(&tree);
    assert!(good.status.success(), "{}", text(&good));
    assert!(text(&good).contains("Passed"), "{}", text(&good));

    tree.write("Dockerfile", FOREIGN);
    tree.git(&["add", "--all"]);
    let bad = commit(&tree);
    assert!(!bad.status.success(), "{}", text(&bad));
    for part in [
        "Dockerfile:1:6: error[registry]",
        "FROM docker.io/library/golang:1.24-alpine",
        "write registry.access.redhat.com/ubi9/go-toolset:1.24",
        "house rules",
    ] {
        assert!(text(&bad).contains(part), "{part:?} is not in:\n{}", text(&bad));
    }
    let commits = succeeds(&mut in_tree(&tree, "git", &["rev-list", "--count", "HEAD"]));
    assert_eq!(commits.trim(), "1");
}

#[test]
fn installs_from_a_wheel_without_a_toolchain() {
    let wheels = kept("wheels");
    succeeds(
        Command::new(installed(MATURIN))
            .args(["build", "--release", "--locked", "--out"])
            .arg(&wheels)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    );
    let config = format!(
        "repos:\n  - repo: local\n    hooks:\n      - id: lint-images\n        name: images\n        language: python\n        \
         entry: lint-images --force-exclude\n        additional_dependencies: [lint-images=={}]\n",
        env!("CARGO_PKG_VERSION")
    );
    let tree = Tree::new(&[("Dockerfile", MINIMAL), (".pre-commit-config.yaml", &config)]);
    tree.git(&["add", "--all"]);
    let run = || {
        // Without the toolchain's folder; wheels of other packages come from PyPI.
        let mut command = in_tree(&tree, pre_commit(), &["run", "--all-files"]);
        command
            .env("PATH", "/usr/bin:/bin")
            .env("PIP_FIND_LINKS", &wheels)
            .env("PRE_COMMIT_HOME", tree.path(".git/pre-commit-home"));
        command.output().unwrap()
    };
    let cargo = Command::new("sh")
        .args(["-c", "command -v cargo"])
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(!cargo.status.success(), "cargo is in /usr/bin");
    let good = run();
    assert!(
        good.status.success() && text(&good).contains("Passed"),
        "{}",
        text(&good)
    );
    tree.write("Dockerfile", FOREIGN);
    tree.git(&["add", "--all"]);
    let bad = run();
    assert!(!bad.status.success(), "{}", text(&bad));
    assert!(
        text(&bad).contains("Dockerfile:1:6: error[registry]"),
        "{}",
        text(&bad)
    );
}
