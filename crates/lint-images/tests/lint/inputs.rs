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

/// Commits all files.
fn commit(tree: &Tree) {
    tree.git(&["add", "--all"]);
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
}

/// Returns the references as `PATH:LINE`.
fn references(document: &Value) -> Vec<String> {
    let references = document["references"].as_array().unwrap();
    let shown = |each: &Value| format!("{}:{}", each["path"].as_str().unwrap(), each["token_line"]);
    references.iter().map(shown).collect()
}

#[test]
fn reads_tracked_files_that_ignore_rules_match() {
    let tree = Tree::new(&[
        ("repository/.image-policy.toml", POLICY),
        ("repository/.gitignore", "build/\n"),
        ("repository/build/Dockerfile", MINIMAL),
        ("repository/build/untracked.Dockerfile", MINIMAL),
        ("repository/above.Dockerfile", MINIMAL),
        ("repository/deleted.Dockerfile", MINIMAL),
        (".gitignore", "*.Dockerfile\n"),
    ]);
    let git = |arguments: &[&str]| tree.git(&[&["-C", "repository"], arguments].concat());
    git(&["init", "--quiet"]);
    git(&["add", "--force", "build/Dockerfile", "deleted.Dockerfile"]);
    std::fs::remove_file(tree.path("repository/deleted.Dockerfile")).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lint-images"))
            .args([&["--format", "json"], arguments].concat())
            .current_dir(tree.path("repository"))
            .output()
            .unwrap();
        references(&serde_json::from_slice(&output.stdout).unwrap())
    };
    assert_eq!(run(&[]), ["above.Dockerfile:1", "build/Dockerfile:1"]);
    assert_eq!(run(&["build"]), ["build/Dockerfile:1"], "and nothing untracked");
}

#[test]
fn leaves_submodules_and_nested_repositories() {
    let tree = Tree::new(&[("Dockerfile", MINIMAL), ("other/Dockerfile", "FROM alpine\n")]);
    tree.git(&["-C", "other", "init", "--quiet"]);
    assert_eq!(references(&tree.json(&[])), ["Dockerfile:1"]);
    assert_eq!(
        references(&tree.json(&["other"])),
        ["other/Dockerfile:1"],
        "a named folder is read"
    );
}

#[test]
fn staged_reads_names_that_git_quotes() {
    let names = [
        "é/Dockerfile",
        "0:1/Dockerfile",
        "2:b.Dockerfile",
        "a\"b\\c\td/Dockerfile",
        "line\nfeed/Dockerfile",
    ];
    let tree = Tree::new(&names.map(|name| (name, MINIMAL)));
    tree.git(&["add", "--all"]);
    let mut found = references(&tree.json(&["--staged"]));
    found.sort();
    let mut expected = names.map(|name| format!("{name}:1"));
    expected.sort();
    assert_eq!(found, expected);
    let mut found = references(&tree.json(&[]));
    found.sort();
    assert_eq!(found, expected, "the work tree has the same names");
}

#[cfg(unix)]
#[test]
fn leaves_links() {
    let tree = Tree::new(&[("docker/Dockerfile.prod", MINIMAL)]);
    std::os::unix::fs::symlink("docker/Dockerfile.prod", tree.path("Dockerfile")).unwrap();
    tree.git(&["add", "--all"]);
    for arguments in [&["--staged"][..], &[]] {
        assert_eq!(references(&tree.json(arguments)), ["docker/Dockerfile.prod:1"]);
    }
    assert_eq!(
        references(&tree.json(&["Dockerfile"])),
        ["docker/Dockerfile.prod:1"]
    );
}

const EXCEPTION: &str = "[[exceptions]]\nimage = \"docker.io/library/alpine\"\nwhere = \"Dockerfile\"\nservice = \"s\"\n\
    justification = \"j\"\nevidence = \"e\"\napproved-by = \"a\"\ndate = 2026-01-01\nreview = 2099-01-01\n";

#[test]
fn staged_reads_policy_and_exceptions_from_the_index() {
    let policy = format!("{POLICY}\n[exceptions]\nfile = \"exceptions.toml\"\n");
    let tree = Tree::new(&[(".image-policy.toml", &policy), ("exceptions.toml", "")]);
    commit(&tree);
    tree.write("Dockerfile", "FROM alpine\n");
    tree.git(&["add", "Dockerfile"]);
    tree.write("exceptions.toml", EXCEPTION);
    assert_eq!(code(&tree.lint(&["--staged"])), 1, "the exception is not staged");
    tree.git(&["add", "exceptions.toml"]);
    assert_eq!(code(&tree.lint(&["--staged"])), 0);
    tree.write(".image-policy.toml", "version = 2");
    assert_eq!(code(&tree.lint(&["--staged"])), 0, "nor is the invalid policy");
    assert_eq!(code(&tree.lint(&[])), 2);
}

#[test]
fn staged_policy_is_checked_on_all_files() {
    let tree = Tree::new(&[("Dockerfile", MINIMAL), ("a/Dockerfile", MINIMAL)]);
    commit(&tree);
    let strict = POLICY.replace("runtime = { tag = \"latest\" }", "build = { tag = \"any\" }");
    tree.write(".image-policy.toml", strict);
    assert_eq!(code(&tree.lint(&["--staged"])), 0, "not staged");
    tree.git(&["add", ".image-policy.toml"]);
    assert_eq!(rules(&tree.json(&["--staged"])), ["approved-image"; 2]);
    let named = tree.json(&["--force-exclude", ".image-policy.toml"]);
    assert_eq!(
        rules(&named),
        ["approved-image"; 2],
        "as the hook of pre-commit names it"
    );
}

#[test]
fn reads_rendered_manifests_from_stdin() {
    let tree = Tree::new(&[]);
    let run = |text: &str| {
        tree.write("input", text);
        Command::new(env!("CARGO_BIN_EXE_lint-images"))
            .args(["--format", "json", "-"])
            .current_dir(tree.folder.path())
            .stdin(std::fs::File::open(tree.path("input")).unwrap())
            .output()
            .unwrap()
    };
    let yaml = "---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: evil.example/a:1}]}\n---\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: quay.io/own/b:1\n";
    let json = "{\n\t\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n\t\t{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"containers\": [{\"image\": \"evil.example/a:1\"}]}}]}\n";
    for (text, line) in [(yaml, 4), (json, 3)] {
        let output = run(text);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(rules(&document), ["workload"], "{document:#}");
        assert_eq!(
            (&document["findings"][0]["path"], &document["findings"][0]["line"]),
            (&"<stdin>".into(), &line.into())
        );
        assert_eq!(code(&output), 1);
    }
    assert_eq!(code(&run("")), 0);
    assert_eq!(code(&tree.lint(&["--fix", "-"])), 2);
}
