//! The hook as pre-commit runs it in a repository that knows nothing of this one but its path and revision.
//!
//! `cargo test -p lint-images --features pre-commit --test lint pre_commit`: CI's, because it needs python3, PyPI and a
//! release build of the program. It tries what is committed: pre-commit takes a revision.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::tree::{MINIMAL, Tree};

/// The version, so that the same code gets the same verdict tomorrow.
const PRE_COMMIT: &str = "pre-commit==4.7.0";

const FOREIGN: &str = "FROM docker.io/library/golang:1.24-alpine AS build\n\
                       FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nCOPY --from=build /app /app\nUSER 1001\n";

/// What is kept from one run of this test to the next.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The program, installed once into the target folder.
fn pre_commit() -> PathBuf {
    let folder = kept(&PRE_COMMIT.replace("==", "-"));
    let program = folder.join("bin/pre-commit");
    if !program.exists() {
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        succeeds(Command::new(folder.join("bin/pip")).args(["install", "--quiet", PRE_COMMIT]));
    }
    program
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

/// In the scratch repository, with pre-commit's own folder in ours.
fn in_tree(tree: &Tree, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program.as_ref());
    command
        .args(arguments)
        .current_dir(tree.folder.path())
        .env("PRE_COMMIT_HOME", kept("pre-commit-home"));
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
fn a_bad_commit_is_refused_with_what_is_allowed_and_a_good_one_passes() {
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
    for said in [
        "Dockerfile:1:6: error[registry]",
        "FROM docker.io/library/golang:1.24-alpine",
        "write registry.access.redhat.com/ubi9/go-toolset:1.24",
        "house rules",
    ] {
        assert!(text(&bad).contains(said), "{said:?} is not in:\n{}", text(&bad));
    }
    let commits = succeeds(&mut in_tree(&tree, "git", &["rev-list", "--count", "HEAD"]));
    assert_eq!(commits.trim(), "1");
}
