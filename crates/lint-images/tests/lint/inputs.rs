//! What is read: the tree, the index, files named, and what can not be read.

use std::process::Command;

use serde_json::Value;

use crate::tree::*;

#[test]
fn staged_reads_the_index_and_not_the_work_tree() {
    let tree = Tree::new(&[
        ("Dockerfile", "FROM alpine\n"),
        ("other/Dockerfile", "FROM busybox\n"),
    ]);
    tree.git(&["add", "Dockerfile"]);
    tree.write("Dockerfile", MINIMAL);
    let staged = tree.lint(&["--staged", "--format", "json"]);
    assert_eq!(code(&staged), 1);
    let document: Value = serde_json::from_slice(&staged.stdout).unwrap();
    assert_eq!(
        document["references"].as_array().unwrap().len(),
        1,
        "other/Dockerfile is not staged"
    );
    assert_eq!(document["references"][0]["raw"], "alpine");
    tree.git(&["add", "Dockerfile"]);
    tree.write("Dockerfile", "FROM alpine\n");
    assert_eq!(code(&tree.lint(&["--staged"])), 0);
}

#[test]
fn staged_files_are_found_from_a_folder_below_and_deleted_ones_are_not_read() {
    let tree = Tree::new(&[("a/Dockerfile", "FROM alpine\n"), ("b/Dockerfile", MINIMAL)]);
    tree.git(&["add", "."]);
    tree.git(&[
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "commit",
        "--quiet",
        "--message",
        "begin",
    ]);
    tree.git(&["rm", "--quiet", "a/Dockerfile"]);
    tree.write("b/Dockerfile", "FROM busybox\n");
    tree.git(&["add", "."]);
    let program = env!("CARGO_BIN_EXE_lint-images");
    let output = Command::new(program)
        .args(["--staged", "--list"])
        .current_dir(tree.path("b"))
        .output()
        .unwrap();
    assert_eq!(
        stdout(&output),
        "docker.io/library/busybox:latest\truntime\tfrom 0\tb/Dockerfile:1\n"
    );
}

#[test]
fn what_can_not_be_read_is_said_and_exits_3() {
    let tree = Tree::new(&[("good/Dockerfile", MINIMAL)]);
    tree.write("utf16.Dockerfile", b"\xff\xfeF\0R\0O\0M\0");
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("not judged: utf16.Dockerfile: it is UTF-16"),
        "{}",
        stderr(&output)
    );
    let output = tree.lint(&["nowhere/Dockerfile"]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("nowhere/Dockerfile: can't read it"),
        "{}",
        stderr(&output)
    );
    tree.write("utf16.Dockerfile", MINIMAL);
    tree.write("deploy.yaml", "image: [a\n");
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("deploy.yaml:"), "{}", stderr(&output));
}

#[test]
fn a_latin_1_comment_is_said_and_the_images_are_judged() {
    let tree = Tree::new(&[]);
    tree.write("Dockerfile", b"# caf\xe9\nFROM alpine\n");
    assert_eq!(rules(&tree.json(&[])), ["unreadable", "registry"]);
}

#[test]
fn templates_are_told_apart() {
    let helm = "{{- if .Values.on }}\nspec:\n  containers:\n    - image: {{ .Values.image }}\n{{- end }}\n";
    let quoted = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - image: \"{{ image }}\"\n    - image: alpine\n";
    let tree = Tree::new(&[("chart/templates/a.yaml", helm), ("b.yaml", quoted)]);
    let output = tree.lint(&["--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rules(&document), ["workload"]);
    let skipped: Vec<_> = document["not_judged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| {
            (
                each["path"].as_str().unwrap(),
                each["line"].as_u64().unwrap(),
                each["unreadable"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        skipped,
        [("b.yaml", 5, false), ("chart/templates/a.yaml", 1, false)]
    );
    assert_eq!(code(&output), 1);
}

#[test]
fn ignored_files_are_not_read_and_hidden_folders_are() {
    let workflow =
        "on: push\njobs:\n  a:\n    container: node:20\n    steps:\n      - uses: docker://alpine:3\n";
    let tree = Tree::new(&[
        ("out/Dockerfile", "FROM alpine\n"),
        (".gitignore", "out/\n"),
        (".github/workflows/a.yaml", workflow),
    ]);
    let document = tree.json(&[]);
    let places: Vec<_> = document["references"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| {
            (
                each["raw"].as_str().unwrap(),
                each["line"].as_u64().unwrap(),
                each["column"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(places, [("node:20", 4, 16), ("alpine:3", 6, 24)]);
}

#[test]
fn a_named_file_is_read_though_excluded_unless_told_otherwise() {
    let tree = Tree::new(&[("old/Dockerfile", "FROM alpine\n")]);
    tree.write(
        ".image-policy.toml",
        format!("{POLICY}\n[files]\nexclude = [\"old/**\"]\n"),
    );
    assert_eq!(code(&tree.lint(&[])), 0);
    assert_eq!(code(&tree.lint(&["old/Dockerfile"])), 1);
    assert_eq!(code(&tree.lint(&["--force-exclude", "old/Dockerfile"])), 0);
}
