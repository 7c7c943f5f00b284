//! Output formats, the list of images, edits.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tree::*;

#[test]
fn json_has_the_documented_shape() {
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
fn fix_applies_what_diff_shows_and_keeps_other_bytes() {
    let before = "\u{feff}# été  \r\nFROM registry.access.redhat.com/ubi9/go-toolset:1.24.6-2 AS build\t\r\nRUN a \\\r\n  # b\r\n  c\r\nFROM registry.access.redhat.com/ubi9/ubi-minimal\r\nCOPY --from=build /a /a";
    let after = before
        .replace(":1.24.6-2", ":1.24")
        .replace("ubi9/ubi-minimal", "ubi9/ubi-minimal:latest");
    let tree = Tree::new(&[("Dockerfile", before), ("untouched/Dockerfile", MINIMAL)]);
    let output = tree.lint(&[]);
    assert!(
        stderr(&output).contains("2 findings are fixable: run with --diff or --fix"),
        "{}",
        stderr(&output)
    );
    let diff = stdout(&tree.lint(&["--diff"]));
    assert!(
        diff.starts_with("diff --git a/Dockerfile b/Dockerfile\n--- a/Dockerfile\n+++ b/Dockerfile\n"),
        "{diff}"
    );
    assert!(
        diff.contains(
            "-FROM registry.access.redhat.com/ubi9/ubi-minimal\r\n+FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\r\n"
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
fn fix_keeps_variants_digests_and_registries() {
    let digest = "c".repeat(64);
    let before = format!(
        "FROM registry.access.redhat.com/ubi9/go-toolset:1.24-slim@sha256:{digest} AS a\n\
         FROM registry.access.redhat.com/ubi9/go-toolset:1.24.1-alpine3.20 AS b\n\
         FROM registry.access.redhat.com/ubi9/go-toolset:1.19 AS c\n\
         FROM registry.access.redhat.com/ubi9/go-toolset AS d\n\
         FROM ubi9/ubi-minimal AS e\n\
         FROM registry.access.redhat.com/ubi9/ubi-minimal:9.4 AS f\n\
         FROM registry.access.redhat.com/ubi9/ubi-minimal:nonroot\n\
         COPY --from=a /a /a\nCOPY --from=b /a /a\nCOPY --from=c /a /a\nCOPY --from=d /a /a\n"
    );
    let tree = Tree::new(&[("Dockerfile", before.as_str())]);
    assert_eq!(rules(&tree.json(&[])).len(), 7);
    assert_eq!(stdout(&tree.lint(&["--diff"])), "");
    assert_eq!(code(&tree.lint(&["--fix"])), 1);
    assert_eq!(tree.read("Dockerfile"), before);
}

#[test]
fn fix_keeps_allowed_variant() {
    let allowed = POLICY.replace("pin = \"1.25\" }", "pin = \"1.25\", variants = [\"alpine*\"] }");
    let head = "FROM registry.access.redhat.com/ubi9/go-toolset:";
    let tree = Tree::new(&[
        (
            "Dockerfile",
            &format!("{head}1.24.1-alpine3.20 AS a\n{MINIMAL}COPY --from=a /a /a\n"),
        ),
        (".image-policy.toml", &allowed),
    ]);
    assert_eq!(code(&tree.lint(&["--fix"])), 0);
    assert!(
        tree.read("Dockerfile")
            .starts_with(&format!("{head}1.24-alpine3.20 AS a\n"))
    );
}

#[test]
fn diff_applies_in_a_subfolder_and_to_odd_names() {
    let text = "FROM registry.access.redhat.com/ubi9/ubi-minimal";
    let names = [
        "a b/Dockerfile",
        "é/Dockerfile",
        "q\"\\t\t/Dockerfile",
        "Dockerfile",
    ];
    let tree = Tree::new(&names.map(|name| (name, text)));
    let folder = tree.path("a b");
    let lint = Command::new(env!("CARGO_BIN_EXE_lint-images"))
        .arg("--diff")
        .current_dir(&folder)
        .output()
        .unwrap();
    tree.write("edits.diff", &lint.stdout);
    let applied = Command::new("git")
        .args(["apply", "--directory=", "../edits.diff"])
        .current_dir(&folder)
        .output()
        .unwrap();
    assert_eq!(stderr(&applied), "");
    // From a subfolder, git applies what is below it.
    assert_eq!(tree.read("a b/Dockerfile"), format!("{text}:latest"));
    assert_eq!(tree.read("Dockerfile"), text);
    tree.write("a b/Dockerfile", text);
    tree.git(&["apply", "edits.diff"]);
    for name in names {
        assert_eq!(tree.read(name), format!("{text}:latest"), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn prints_no_escape_codes_of_names() {
    let tree = Tree::new(&[
        ("\x1b[31mred/Dockerfile", "FROM alpine\x1b[32m\n"),
        ("\x1b]0;title\x07.yaml", "image: [\n"),
    ]);
    for arguments in [
        &[][..],
        &["--list"],
        &["--format", "github"],
        &["--format", "junit"],
        &["--format", "json"],
    ] {
        let output = tree.lint(arguments);
        let shown = stdout(&output) + &stderr(&output);
        assert!(shown.contains("red/Dockerfile"), "{shown}");
        assert!(!shown.contains(['\x1b', '\x07']), "{arguments:?}: {shown:?}");
    }
}

#[test]
fn list_has_text_and_json_only() {
    let tree = Tree::new(&[("Dockerfile", MINIMAL)]);
    assert_eq!(code(&tree.lint(&["--list", "--format", "json"])), 0);
    for format in ["sarif", "github", "junit"] {
        let output = tree.lint(&["--list", "--format", format]);
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{format}");
    }
}

#[test]
fn finding_on_a_variable_names_the_line_that_sets_it() {
    let tree = Tree::new(&[(
        "Dockerfile",
        "# a\nARG TAG=9\nARG NAME=ubi9\nFROM registry.access.redhat.com/${NAME}/ubi-minimal:$TAG\n",
    )]);
    let shown = stdout(&tree.lint(&[]));
    assert!(
        shown.contains("help: NAME is set in line 3\nhelp: TAG is set in line 2\n"),
        "{shown}"
    );
}

#[test]
fn fix_leaves_edits_that_need_a_decision() {
    let before = "ARG BASE=alpine\nFROM $BASE\nFROM docker.io/library/golang:1.24 AS b\nFROM ubuntu\nCOPY --from=b /a /a\n";
    let tree = Tree::new(&[("Dockerfile", before)]);
    assert_eq!(code(&tree.lint(&["--fix"])), 1);
    assert_eq!(tree.read("Dockerfile"), before);
}

#[test]
fn list_prints_every_image() {
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
fn explain_prints_a_rule_and_rejects_unknown_rules() {
    let tree = Tree::new(&[]);
    assert!(stdout(&tree.lint(&["--explain", "registry"])).starts_with("# registry\n"));
    assert_eq!(stdout(&tree.lint(&["--explain"])).lines().count(), 13);
    assert_eq!(code(&tree.lint(&["--explain", "nothing"])), 2);
}

#[test]
fn github_annotation_is_one_line() {
    let tree = Tree::new(&[("Dockerfile", "FROM alpine\n")]);
    let shown = stdout(&tree.lint(&["--format", "github"]));
    assert!(
        shown.starts_with(
            "::error file=Dockerfile,line=1,col=6,title=lint-images registry::short name \"alpine\" means"
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
fn sarif_has_rules_results_locations_and_fixes() {
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

/// Compares the program with the expected references of the cases of `crates/dockerfile`.
#[test]
fn program_finds_the_references_of_each_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dockerfile/tests/cases");
    let tree = Tree::new(&[]);
    let mut checked = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let case_file = entry.unwrap().path();
        if case_file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&case_file).unwrap()).unwrap();
        if !case["references_if_lenient"].is_null() {
            continue;
        }
        let file = case_file.with_extension("Dockerfile");
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

/// Validates against the published schema (OASIS) with one pattern corrected: the published pattern of a language code
/// has an unbalanced bracket, for which strict regular expression engines reject the whole schema.
#[test]
fn sarif_is_valid_by_its_schema() {
    let (published, meant) = ("{2}-[a-zA-Z]{2}]?$", "{2}-[a-zA-Z]{2}$");
    let text = include_str!("../schemas/sarif-2.1.0.json");
    assert!(
        text.contains(published),
        "the published schema is correct: remove the replacement"
    );
    let schema: Value = serde_json::from_str(&text.replace(published, meant)).unwrap();
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
    assert_eq!(document["runs"][0]["results"].as_array().unwrap().len(), 4);
    assert_eq!(
        document["runs"][0]["invocations"][0]["executionSuccessful"],
        false
    );
}

#[test]
fn gitlab_report_has_stable_fingerprints() {
    let report = |text: &str| -> Value {
        let tree = Tree::new(&[("Dockerfile", text)]);
        serde_json::from_slice(&tree.lint(&["--format", "gitlab"]).stdout).unwrap()
    };
    let before = report("FROM alpine\nFROM alpine\n");
    let moved = report("# moved\nFROM alpine\nFROM alpine\n");
    let prints = |report: &Value| -> Vec<String> {
        let entries = report.as_array().unwrap().iter();
        entries
            .map(|each| each["fingerprint"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(prints(&before), prints(&moved));
    assert_eq!(prints(&before).len(), 2);
    assert_ne!(prints(&before)[0], prints(&before)[1]);
    assert_eq!(before[0]["check_name"], "lint-images/registry");
    assert_eq!(before[0]["severity"], "major");
    assert_eq!(
        before[1]["location"],
        serde_json::json!({"path": "Dockerfile", "lines": {"begin": 2}})
    );
}

#[test]
fn checkstyle_has_files_with_errors() {
    let tree = Tree::new(&[("a&b/Dockerfile", "FROM alpine\n"), ("good/Dockerfile", MINIMAL)]);
    let shown = stdout(&tree.lint(&["--format", "checkstyle"]));
    assert!(
        shown.contains(
            "<file name=\"a&amp;b/Dockerfile\">\n    <error line=\"1\" column=\"6\" severity=\"error\""
        ),
        "{shown}"
    );
    assert!(shown.contains("source=\"lint-images.registry\"/>"), "{shown}");
    assert!(!shown.contains("good"), "{shown}");
}

#[test]
fn fail_on_selects_the_levels_that_fail() {
    let tree = Tree::new(&[("Dockerfile", "FROM alpine\n")]);
    assert_eq!(code(&tree.lint(&["--fail-on", "never"])), 0);
    assert!(stdout(&tree.lint(&["--fail-on", "never"])).contains("error[registry]"));
    tree.write(
        ".image-policy.toml",
        POLICY.replace("hygiene = \"off\"", "registry = \"warning\"\nhygiene = \"off\""),
    );
    assert_eq!(code(&tree.lint(&[])), 0);
    assert_eq!(code(&tree.lint(&["--fail-on", "warning"])), 1);
    tree.write("x.yaml", "image: [\n");
    assert_eq!(
        code(&tree.lint(&["--fail-on", "never"])),
        3,
        "unreadable files fail always"
    );
}

#[test]
fn quiet_prints_findings_and_unreadable_files_only() {
    let template = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: \"{{ x }}\"}]}\n";
    let tree = Tree::new(&[("Dockerfile", "FROM alpine\n"), ("a.yaml", template)]);
    let output = tree.lint(&["--quiet"]);
    assert!(stdout(&output).contains("error[registry]"));
    assert_eq!(stderr(&output), "");
    tree.write("b.yaml", "image: [\n");
    let shown = stderr(&tree.lint(&["--quiet"]));
    assert!(
        shown.starts_with("skipped: b.yaml:") && shown.lines().count() == 1,
        "{shown}"
    );
}
