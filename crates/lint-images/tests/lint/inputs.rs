//! Selection of files: the tree, the index, named files, unreadable files.

use std::process::Command;

use serde_json::Value;

use crate::tree::*;

#[test]
fn staged_reads_the_index() {
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
fn staged_works_in_a_subfolder_and_skips_deleted_files() {
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
fn unreadable_files_exit_with_3() {
    let tree = Tree::new(&[("good/Dockerfile", MINIMAL)]);
    tree.write("utf16.Dockerfile", b"\xff\xfeF\0R\0O\0M\0");
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("skipped: utf16.Dockerfile: UTF-16"),
        "{}",
        stderr(&output)
    );
    let output = tree.lint(&["nowhere/Dockerfile"]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("nowhere/Dockerfile: cannot read the file"),
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
fn checks_images_of_file_with_latin_1_comment() {
    let tree = Tree::new(&[]);
    tree.write("Dockerfile", b"# caf\xe9\nFROM alpine\n");
    assert_eq!(rules(&tree.json(&[])), ["unreadable", "registry"]);
}

#[test]
fn skips_templates() {
    let helm = "{{- if .Values.on }}\nspec:\n  containers:\n    - image: {{ .Values.image }}\n{{- end }}\n";
    let quoted = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - image: \"{{ image }}\"\n    - image: alpine\n";
    let tree = Tree::new(&[("chart/templates/a.yaml", helm), ("b.yaml", quoted)]);
    let output = tree.lint(&["--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rules(&document), ["workload"]);
    let skipped: Vec<_> = document["skipped"]
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
fn skips_ignored_files_and_reads_hidden_folders() {
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
fn reads_named_file_that_is_excluded_unless_forced() {
    let tree = Tree::new(&[("old/Dockerfile", "FROM alpine\n")]);
    tree.write(
        ".image-policy.toml",
        format!("{POLICY}\n[files]\nexclude = [\"old/**\"]\n"),
    );
    assert_eq!(code(&tree.lint(&[])), 0);
    assert_eq!(code(&tree.lint(&["old/Dockerfile"])), 1);
    assert_eq!(code(&tree.lint(&["--force-exclude", "old/Dockerfile"])), 0);
}
