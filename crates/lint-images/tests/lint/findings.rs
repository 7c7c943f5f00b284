//! Findings by policy.

use crate::tree::*;

#[test]
fn reports_rule_allowed_images_section_and_edit() {
    let text =
        format!("FROM docker.io/library/golang:1.24-alpine AS build\n{MINIMAL}COPY --from=build /a /a\n");
    let tree = Tree::new(&[("Dockerfile", &text)]);
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 1);
    let shown = stdout(&output);
    for part in [
        "Dockerfile:1:6: error[registry]: docker.io is not an approved registry",
        "1 | FROM docker.io/library/golang:1.24-alpine AS build\n  |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "help: allowed registries: registry.access.redhat.com (required)",
        "help: allowed for build stages: registry.access.redhat.com/ubi9/go-toolset",
        "help: edit: write registry.access.redhat.com/ubi9/go-toolset:1.24",
        "help: see house rules, Where from (POLICY.md)",
    ] {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
}

#[test]
fn clean_tree_prints_nothing_and_exits_with_0() {
    let tree = Tree::new(&[("Dockerfile", MINIMAL)]);
    let output = tree.lint(&[]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, ""));
    assert!(
        stderr(&output).contains("1 images, 0 errors"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn reports_every_finding() {
    let tree = Tree::new(&[
        (
            "a/Dockerfile",
            "FROM alpine\nFROM busybox\nCOPY --from=nginx /a /b\n",
        ),
        ("b.Dockerfile", "FROM debian\n"),
    ]);
    assert_eq!(rules(&tree.json(&[])), ["registry"; 4]);
}

#[test]
fn build_arguments_set_variables() {
    let tree = Tree::new(&[(
        "Dockerfile",
        "ARG V\nFROM registry.access.redhat.com/ubi9/ubi-minimal:$V\n",
    )]);
    assert_eq!(code(&tree.lint(&[])), 1);
    assert_eq!(code(&tree.lint(&["--build-arg", "V=latest"])), 0);
    assert_eq!(code(&tree.lint(&["--build-arg", "V"])), 2);
}

#[test]
fn reports_all_policy_errors_with_locations() {
    let tree = Tree::new(&[("Dockerfile", MINIMAL)]);
    let wrong = "version = 2\n[policy]\nname = \"p\"\n[[images]]\nmatch = [\"alpine\", \"docker.io/{x}/y\"]\nbuild = {}\n";
    tree.write(".image-policy.toml", wrong);
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 2);
    for part in [
        ".image-policy.toml:1:11: unsupported format version",
        ".image-policy.toml:5:10: \"alpine\" has no registry",
        ":5:20: unknown variable \"x\"",
    ] {
        assert!(
            stderr(&output).contains(part),
            "no {part:?} in:\n{}",
            stderr(&output)
        );
    }
    tree.write(
        ".image-policy.toml",
        "version = 1\nverzion = 2\n[policy]\nname = \"p\"\n",
    );
    assert!(stderr(&tree.lint(&[])).contains(".image-policy.toml:2:1: unknown field `verzion`"));
}

#[test]
fn init_writes_policy_that_allows_images_in_use() {
    let tree = Tree::new(&[
        (
            "Dockerfile",
            "FROM alpine:3 AS build\nFROM scratch\nCOPY --from=build /a /a\n",
        ),
        (
            "pod.yaml",
            "apiVersion: v1\nkind: Pod\nspec:\n  containers: [{ image: redis }]\n",
        ),
    ]);
    std::fs::remove_file(tree.path(".image-policy.toml")).unwrap();
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("--init"), "{}", stderr(&output));
    assert_eq!(code(&tree.lint(&["--init"])), 0);
    assert!(
        tree.read(".image-policy.toml")
            .contains("docker.io/library/redis")
    );
    let again = tree.lint(&[]);
    assert_eq!(
        code(&again),
        0,
        "the initial policy must allow the images in use: {}{}",
        stdout(&again),
        stderr(&again)
    );
    assert_eq!(
        code(&tree.lint(&["--init"])),
        2,
        "--init must not overwrite a policy"
    );
}

#[test]
fn comments_except_only_the_rules_of_the_policy() {
    let text = "# lint-images: allow registry: the only build of it\nFROM alpine\n";
    let tree = Tree::new(&[("Dockerfile", text)]);
    assert_eq!(rules(&tree.json(&[])), ["exception", "registry"]);
    tree.write(
        ".image-policy.toml",
        format!("{POLICY}\n[exceptions]\ninline = [\"registry\"]\n"),
    );
    assert_eq!(code(&tree.lint(&[])), 0);
    tree.write("Dockerfile", "# lint-images: allow registry\nFROM alpine\n");
    assert_eq!(
        rules(&tree.json(&[])),
        ["exception", "registry"],
        "an exception needs a reason"
    );
}

#[test]
fn overrides_set_levels_by_path() {
    let tree = Tree::new(&[
        ("Dockerfile", "FROM alpine\n"),
        ("examples/a/Dockerfile", "FROM alpine\n"),
        ("examples/b/Dockerfile", "FROM alpine\n"),
    ]);
    let overrides = "\n[[overrides]]\nfiles = [\"examples/**\"]\nlevels = { registry = \"warning\" }\n\
                     \n[[overrides]]\nfiles = [\"examples/b/*\"]\nlevels = { registry = \"off\" }\n";
    tree.write(".image-policy.toml", format!("{POLICY}{overrides}"));
    let document = tree.json(&[]);
    let found = document["findings"].as_array().unwrap().iter();
    let found: Vec<_> = found
        .map(|each| (each["path"].as_str().unwrap(), each["level"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [("Dockerfile", "error"), ("examples/a/Dockerfile", "warning")]
    );
}

#[test]
fn exceptions_cover_references_without_an_image() {
    let entry = |about: &str| {
        format!(
            "[[exceptions]]\n{about}where = \"**/Dockerfile\"\nservice = \"s\"\njustification = \"j\"\nevidence = \"e\"\n\
             approved-by = \"a\"\ndate = 2026-01-01\nreview = 2099-01-01\n"
        )
    };
    let tree = Tree::new(&[(
        "Dockerfile",
        "ARG BASE\nFROM ${BASE}\nFROM Invalid_:x\nFROM ${OTHER}\n",
    )]);
    tree.write(
        ".image-policy.toml",
        format!("{POLICY}\n[exceptions]\nfile = \"exceptions.toml\"\n"),
    );
    tree.write(
        "exceptions.toml",
        entry("text = \"${BASE}\"\n") + &entry("text = \"Invalid_:x\"\n"),
    );
    let document = tree.json(&[]);
    assert_eq!(rules(&document), ["unresolved"]);
    assert_eq!(document["findings"][0]["line"], 4);
    for wrong in ["", "text = \"a\"\nimage = \"docker.io/library/a\"\n"] {
        tree.write("exceptions.toml", entry(wrong));
        let output = tree.lint(&[]);
        assert_eq!(code(&output), 2);
        assert!(
            stderr(&output).contains("either image or text"),
            "{}",
            stderr(&output)
        );
    }
}
