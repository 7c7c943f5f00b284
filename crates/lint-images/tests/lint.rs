//! The program as a person runs it: on trees made for the purpose, in git repositories, in each output's form.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test may fail the test"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const MINIMAL: &str = "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nUSER 1001\n";

/// A policy in the form that any repository may write.
const POLICY: &str = r#"
version = 1
[policy]
name = "house rules"
document = "POLICY.md"
[sections]
registry = "Where from"
[levels]
hygiene = "off"
[[registries]]
tier = "required"
registry = "registry.access.redhat.com"
[[images]]
match = ["registry.access.redhat.com/ubi9/go-toolset"]
replaces = ["docker.io/library/golang"]
build = { tag = "minor", at-least = "1.20", below = "2", pin = "1.25" }
[[images]]
match = ["registry.access.redhat.com/ubi9/ubi-minimal"]
runtime = { tag = "latest" }
[[workloads]]
match = ["quay.io/own/*"]
reason = "own images"
"#;

/// A repository in a temporary folder.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new(files: &[(&str, &str)]) -> Tree {
        let tree = Tree {
            folder: tempfile::tempdir().unwrap(),
        };
        tree.git(&["init", "--quiet"]);
        tree.write(".image-policy.toml", POLICY);
        files.iter().for_each(|(path, text)| tree.write(path, text));
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        std::fs::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn lint(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lint-images"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.lint(&[&["--format", "json"], arguments].concat());
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The rules of a document's findings.
fn rules(document: &Value) -> Vec<&str> {
    document["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect()
}

#[test]
fn a_foreign_compiler_is_refused_with_the_rule_what_is_allowed_the_section_and_the_edit() {
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
fn a_good_tree_is_silent_on_stdout_and_exits_0() {
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
fn hits_are_all_reported_and_not_the_first_alone() {
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
fn the_json_has_the_documented_shape() {
    let tree = Tree::new(&[(
        "Dockerfile",
        "ARG V\nFROM alpine:$V AS base\nFROM base\nRUN --mount=from=Nginx true\n",
    )]);
    let document = tree.json(&["Dockerfile"]);
    assert_eq!(document["files"], 1);
    let expected = serde_json::json!([
        { "path": "Dockerfile", "line": 2, "column": 6, "kind": "from", "role": "runtime", "stage": "base",
          "raw": "alpine:$V", "expanded": null, "normalized": null, "error": "variable V has no value", "token_line": 2 },
        { "path": "Dockerfile", "line": 4, "column": 18, "kind": "mount-from", "role": "build", "stage": "1",
          "raw": "Nginx", "expanded": "Nginx", "normalized": null, "token_line": 4,
          "error": "invalid reference format: repository name (library/Nginx) must be lowercase" },
    ]);
    assert_eq!(document["references"], expected);
    assert_eq!(rules(&document), ["unresolved", "reference"]);
}

#[test]
fn build_arguments_are_values() {
    let tree = Tree::new(&[(
        "Dockerfile",
        "ARG V\nFROM registry.access.redhat.com/ubi9/ubi-minimal:$V\n",
    )]);
    assert_eq!(code(&tree.lint(&[])), 1);
    assert_eq!(code(&tree.lint(&["--build-arg", "V=latest"])), 0);
    assert_eq!(code(&tree.lint(&["--build-arg", "V"])), 2);
}

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
fn fix_makes_what_diff_shows_and_keeps_every_other_byte() {
    let before = "\u{feff}# été  \r\nFROM registry.access.redhat.com/ubi9/go-toolset:1.24.6-2 AS build\t\r\nRUN a \\\r\n  # b\r\n  c\r\nFROM ubi9/ubi-minimal\r\nCOPY --from=build /a /a";
    let after = before.replace(":1.24.6-2", ":1.24").replace(
        "ubi9/ubi-minimal",
        "registry.access.redhat.com/ubi9/ubi-minimal:latest",
    );
    let tree = Tree::new(&[("Dockerfile", before), ("untouched/Dockerfile", MINIMAL)]);
    let diff = stdout(&tree.lint(&["--diff"]));
    assert!(diff.starts_with("--- a/Dockerfile\n+++ b/Dockerfile\n"), "{diff}");
    assert!(
        diff.contains(
            "-FROM ubi9/ubi-minimal\r\n+FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\r\n"
        ),
        "{diff}"
    );
    assert_eq!(tree.read("Dockerfile"), before, "--diff changes nothing");
    let output = tree.lint(&["--fix"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    assert_eq!(tree.read("Dockerfile"), after);
    assert_eq!(stdout(&tree.lint(&["--diff"])), "");
}

#[test]
fn fix_leaves_what_has_no_one_answer() {
    let before = "ARG BASE=alpine\nFROM $BASE\nFROM docker.io/library/golang:1.24 AS b\nFROM ubuntu\nCOPY --from=b /a /a\n";
    let tree = Tree::new(&[("Dockerfile", before)]);
    assert_eq!(code(&tree.lint(&["--fix"])), 1);
    assert_eq!(tree.read("Dockerfile"), before);
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
fn mistakes_of_a_policy_are_all_shown_with_their_places() {
    let tree = Tree::new(&[("Dockerfile", MINIMAL)]);
    let wrong = "version = 2\n[policy]\nname = \"p\"\n[[images]]\nmatch = [\"alpine\", \"docker.io/{x}/y\"]\nbuild = {}\n";
    tree.write(".image-policy.toml", wrong);
    let output = tree.lint(&[]);
    assert_eq!(code(&output), 2);
    for part in [
        ".image-policy.toml:1:11: this linter reads version 1",
        ".image-policy.toml:5:10: \"alpine\" has no registry",
        ":5:20: there is no variable \"x\"",
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
fn without_a_policy_the_way_to_one_is_said() {
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
        "a begun policy allows what is in use: {}{}",
        stdout(&again),
        stderr(&again)
    );
    assert_eq!(
        code(&tree.lint(&["--init"])),
        2,
        "a policy that is there is left alone"
    );
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

#[test]
fn the_list_is_an_inventory() {
    let tree = Tree::new(&[(
        "Dockerfile",
        "FROM golang:1.25 AS build\nFROM scratch\nCOPY --from=build /a /a\n",
    )]);
    let output = tree.lint(&["--list"]);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (
            0,
            "docker.io/library/golang:1.25\tbuild\tfrom build\tDockerfile:1\n"
        )
    );
}

#[test]
fn explain_prints_a_rules_page_and_knows_no_other() {
    let tree = Tree::new(&[]);
    assert!(stdout(&tree.lint(&["--explain", "registry"])).starts_with("# registry\n"));
    assert_eq!(stdout(&tree.lint(&["--explain"])).lines().count(), 13);
    assert_eq!(code(&tree.lint(&["--explain", "nothing"])), 2);
}

#[test]
fn a_comment_excepts_only_what_the_policy_lets_it() {
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
        "no reason, no exception"
    );
}

#[test]
fn github_annotations_are_one_line_each() {
    let tree = Tree::new(&[("Dockerfile", "FROM alpine\n")]);
    let shown = stdout(&tree.lint(&["--format", "github"]));
    assert!(
        shown.starts_with(
            "::error file=Dockerfile,line=1,col=6,title=lint-images registry::\"alpine\" is a short name"
        ),
        "{shown}"
    );
    assert!(shown.contains("%0Aallowed registries"), "{shown}");
    assert_eq!(shown.lines().count(), 1);
}

#[test]
fn junit_counts_files_and_escapes_text() {
    let tree = Tree::new(&[
        ("a&b.Dockerfile", "FROM \"<alpine>\"\n"),
        ("good.Dockerfile", MINIMAL),
    ]);
    let shown = stdout(&tree.lint(&["--format", "junit"]));
    assert!(
        shown.contains(
            "<testsuites name=\"lint-images\" tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\">"
        ),
        "{shown}"
    );
    assert!(shown.contains("name=\"a&amp;b.Dockerfile\">"), "{shown}");
    assert!(shown.contains("&lt;alpine&gt;"), "{shown}");
    assert!(shown.contains("name=\"good.Dockerfile\"/>"), "{shown}");
}

#[test]
fn sarif_has_rules_results_places_and_fixes() {
    let tree = Tree::new(&[(
        "a b/Dockerfile",
        "FROM registry.access.redhat.com/ubi9/ubi-minimal:9\n",
    )]);
    let document: Value = serde_json::from_slice(&tree.lint(&["--format", "sarif"]).stdout).unwrap();
    let run = &document["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 13);
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "runtime-tag");
    assert_eq!(
        run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize]["id"],
        "runtime-tag"
    );
    let physical = &result["locations"][0]["physicalLocation"];
    assert_eq!(physical["artifactLocation"]["uri"], "a%20b/Dockerfile");
    assert_eq!(
        physical["region"],
        serde_json::json!({"startLine": 1, "startColumn": 6, "endLine": 1, "endColumn": 51})
    );
    let inserted = &result["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"];
    assert_eq!(inserted, "registry.access.redhat.com/ubi9/ubi-minimal:latest");
}

/// The cases with known answers, through the whole program.
#[test]
fn each_case_gives_its_references_through_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dockerfile/tests/cases");
    let tree = Tree::new(&[]);
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let answer = entry.unwrap().path();
        if answer.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&answer).unwrap()).unwrap();
        if !case["references_if_lenient"].is_null() {
            continue;
        }
        let file = answer.with_extension("Dockerfile");
        let found = tree.json(&[file.to_str().unwrap()]);
        let key = |each: &Value, expanded: Value| {
            (
                each["line"].clone(),
                each["kind"].clone(),
                each["raw"].clone(),
                expanded,
            )
        };
        let found: Vec<_> = found["references"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| key(each, each["expanded"].clone()))
            .collect();
        let expected: Vec<_> = case["references"]
            .as_array()
            .unwrap()
            .iter()
            .map(|each| {
                let expanded = if each["unmatched"].is_null() {
                    each["expanded"].clone()
                } else {
                    Value::Null
                };
                key(each, expanded)
            })
            .collect();
        assert_eq!(found, expected, "{}", file.display());
        checked += 1;
    }
    assert!(checked > 60, "only {checked} cases found");
}

/// The schema is the standard's own (OASIS), as it is published.
#[test]
fn sarif_is_valid_by_the_standards_schema() {
    let schema: Value = serde_json::from_str(include_str!("schemas/sarif-2.1.0.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let templates =
        "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - image: '{{ x }}'\n    - image: é/x\n";
    let dockerfile = "FROM ubi9/ubi-minimal:9\nFROM docker.io/library/golang AS b\nRUN <<EOF\n";
    let tree = Tree::new(&[
        ("é b/Dockerfile", dockerfile),
        ("pod.yaml", templates),
        ("no.yaml", "image: [\n"),
    ]);
    let document: Value = serde_json::from_slice(&tree.lint(&["--format", "sarif"]).stdout).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    assert!(document["runs"][0]["results"].as_array().unwrap().len() >= 4);
    assert_eq!(
        document["runs"][0]["invocations"][0]["executionSuccessful"],
        false
    );
}
