//! Baselines, and the policy that `--init` writes.

use crate::tree::*;

const BASELINE: [&str; 2] = ["--baseline", "baseline.toml"];

fn with_baseline<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&BASELINE[..], arguments].concat()
}

#[test]
fn baseline_accepts_known_findings_only() {
    let tree = Tree::new(&[
        ("Dockerfile", "FROM alpine\nFROM alpine\n"),
        ("a/Dockerfile", MINIMAL),
    ]);
    assert_eq!(
        code(&tree.lint(&with_baseline(&[]))),
        2,
        "there is no baseline yet"
    );
    assert_eq!(code(&tree.lint(&with_baseline(&["--update-baseline"]))), 0);
    let output = tree.lint(&with_baseline(&[]));
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
    assert!(
        stderr(&output).contains("0 errors, 0 warnings, 2 in the baseline"),
        "{}",
        stderr(&output)
    );
    // Lines move, and other rules, files and images are new, as is one more of the same.
    tree.write(
        "Dockerfile",
        "# moved\nFROM alpine\n\nFROM alpine\nFROM alpine AS c\nFROM busybox\n",
    );
    tree.write("b/Dockerfile", "FROM alpine\n");
    let document = tree.json(&with_baseline(&[]));
    let found = document["findings"].as_array().unwrap().iter();
    let found: Vec<_> = found
        .map(|each| format!("{}:{}", each["path"].as_str().unwrap(), each["line"]))
        .collect();
    assert_eq!(found, ["Dockerfile:5", "Dockerfile:6", "b/Dockerfile:1"]);
}

#[test]
fn baseline_entries_that_are_gone_are_warnings() {
    let tree = Tree::new(&[("Dockerfile", "FROM alpine\nFROM busybox\n")]);
    assert_eq!(code(&tree.lint(&with_baseline(&["--update-baseline"]))), 0);
    tree.write("Dockerfile", "FROM busybox\n");
    let output = tree.lint(&with_baseline(&[]));
    assert_eq!(code(&output), 0);
    let expected = "warning[exception]: no longer occurs: 1 of registry about docker.io/library/alpine:latest in Dockerfile";
    assert!(stdout(&output).contains(expected), "{}", stdout(&output));
    assert_eq!(
        stdout(&tree.lint(&with_baseline(&["Dockerfile"]))),
        "",
        "other files may have it"
    );
    assert_eq!(code(&tree.lint(&with_baseline(&["--update-baseline"]))), 0);
    assert_eq!(stdout(&tree.lint(&with_baseline(&[]))), "");
}

#[test]
fn update_needs_a_file_and_the_whole_repository() {
    let tree = Tree::new(&[("Dockerfile", "FROM alpine\n")]);
    assert_eq!(code(&tree.lint(&["--update-baseline"])), 2);
    assert_eq!(
        code(&tree.lint(&with_baseline(&["--update-baseline", "Dockerfile"]))),
        2
    );
    tree.write("baseline.toml", "version = 2\n");
    assert_eq!(code(&tree.lint(&with_baseline(&[]))), 2);
    tree.write(
        ".image-policy.toml",
        format!("{POLICY}\n[baseline]\nfile = \"baseline.toml\"\n"),
    );
    assert_eq!(code(&tree.lint(&["--update-baseline"])), 0);
    assert_eq!(code(&tree.lint(&[])), 0);
    tree.git(&["add", "--all"]);
    assert_eq!(code(&tree.lint(&["--staged"])), 0);
}

#[test]
fn run_after_init_succeeds_in_any_repository() {
    let tree = Tree::new(&[
        (
            "Dockerfile",
            "ARG BASE\nFROM $BASE\nFROM Invalid_:x\nWRONG\nRUN <<EOF\n",
        ),
        ("host/Dockerfile", "FROM HOST/x:1\nFROM localhost:5000/y\n"),
        (
            "line\nfeed/Dockerfile",
            "FROM alpine\n# lint-images: allow registry: none\n",
        ),
        ("a.yaml", "image: [\n"),
        (
            "b.yaml",
            "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: Invalid/X}]}\n",
        ),
        ("one/Dockerfile", &format!("FROM a:1@sha256:{}\n", "a".repeat(64))),
        ("two/Dockerfile", &format!("FROM a:1@sha256:{}\n", "b".repeat(64))),
        ("compose.yaml", "services: {a: {image: \"${X}\"}}\n"),
    ]);
    tree.write("utf16.Dockerfile", b"\xff\xfeF\0R\0O\0M\0");
    std::fs::remove_file(tree.path(".image-policy.toml")).unwrap();
    let output = tree.lint(&["--init"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    for unread in ["skipped: a.yaml:", "skipped: utf16.Dockerfile:"] {
        assert!(stderr(&output).contains(unread), "{}", stderr(&output));
    }
    let output = tree.lint(&[]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (0, ""),
        "{}",
        stderr(&output)
    );
    assert!(
        stderr(&output).contains("skipped: utf16.Dockerfile:"),
        "{}",
        stderr(&output)
    );
    tree.write("new/Dockerfile", "FROM another\n");
    tree.write("c.yaml", "image: [\n");
    let document = tree.json(&[]);
    assert_eq!(rules(&document), ["approved-image"], "{document:#}");
    assert_eq!(code(&tree.lint(&[])), 3, "c.yaml is unreadable, and new");
    tree.write("utf16.Dockerfile", "FROM alpine\n");
    std::fs::remove_file(tree.path("c.yaml")).unwrap();
    let shown = stdout(&tree.lint(&[]));
    assert!(
        shown.contains("warning[exception]: no longer occurs: unreadable utf16.Dockerfile"),
        "{shown}"
    );
}

#[test]
fn init_writes_no_baseline_without_need() {
    let tree = Tree::new(&[("Dockerfile", "FROM alpine:3\n")]);
    std::fs::remove_file(tree.path(".image-policy.toml")).unwrap();
    assert_eq!(code(&tree.lint(&["--init"])), 0);
    assert!(!tree.path(".image-baseline.toml").exists());
    assert!(!tree.read(".image-policy.toml").contains("baseline"));
}
