//! Each rule's examples on its page, our own tree, and whole runs on trees made for the purpose.

use std::path::{Path, PathBuf};

use crate::date::Date;
use crate::model::{Level, Rule};
use crate::policy::{self, Policy};
use crate::sources::{self, Content, Input};
use crate::{Report, judge};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Our own policy, with the exceptions that a text has.
fn policy_with(exceptions: &str) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        root().join("deploy/image-policy.toml"),
        folder.path().join("image-policy.toml"),
    )
    .unwrap();
    std::fs::write(folder.path().join("image-exceptions.toml"), exceptions).unwrap();
    policy::load(&folder.path().join("image-policy.toml"), folder.path()).unwrap()
}

fn day() -> Date {
    "2026-06-01".parse().unwrap()
}

/// Judges files given as (path, text); a TOML file is the exceptions.
fn judged(files: &[(String, String)]) -> Report {
    let exceptions = files.iter().find(|(path, _)| path == "image-exceptions.toml");
    let policy = policy_with(exceptions.map_or("", |(_, text)| text));
    let inputs = files
        .iter()
        .filter(|(path, _)| path != "image-exceptions.toml")
        .map(|(path, text)| Input {
            path: path.clone(),
            form: sources::form_of(path, &policy).unwrap(),
            content: Content::Bytes(text.clone().into_bytes()),
        })
        .collect();
    judge(inputs, &policy, day(), true, true)
}

fn rules_of(report: &Report) -> Vec<Rule> {
    report
        .files
        .iter()
        .flat_map(|file| &file.findings)
        .map(|finding| finding.rule)
        .collect()
}

/// The fenced examples under a heading of a page: (path, text).
fn examples(page: &str, heading: &str) -> Vec<(String, String)> {
    let section = page
        .split("\n## ")
        .find(|section| section.starts_with(heading))
        .unwrap_or_default();
    section
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (info, text) = block.split_once('\n').unwrap();
            (info.split(' ').nth(1).unwrap().to_owned(), text.to_owned())
        })
        .collect()
}

#[test]
fn the_failing_example_of_each_page_fails_by_its_rule_and_no_other() {
    for rule in Rule::ALL {
        let files = examples(rule.page(), "Fails");
        assert!(!files.is_empty(), "{rule} has no failing example");
        let found = rules_of(&judged(&files));
        let also = match rule {
            // An expired exception leaves what it was about.
            Rule::Exception => vec![Rule::Registry],
            _ => vec![],
        };
        assert!(found.contains(&rule), "{rule}: found {found:?}");
        assert!(
            found.iter().all(|it| *it == rule || also.contains(it)),
            "{rule}: found {found:?}"
        );
    }
}

#[test]
fn the_passing_example_of_each_page_passes() {
    for rule in Rule::ALL {
        let files = examples(rule.page(), "Passes");
        assert!(!files.is_empty(), "{rule} has no passing example");
        let report = judged(&files);
        assert_eq!(rules_of(&report), [], "{rule}");
        assert!(
            report.files.iter().any(|file| !file.uses.is_empty()),
            "{rule}: the example names no image"
        );
    }
}

#[test]
fn our_own_tree_has_no_finding_and_no_unused_exception() {
    let root = root();
    let policy = policy::load(&policy::find(&root).unwrap(), &root).unwrap();
    let report = judge(
        sources::from_tree(&root, &policy),
        &policy,
        Date::today(),
        true,
        true,
    );
    let shown = crate::output::text::render(&report, false);
    assert_eq!(
        report.count(Level::Error) + report.count(Level::Warning),
        0,
        "{shown}"
    );
    assert!(!report.is_unreadable());
    assert!(
        report
            .files
            .iter()
            .any(|file| file.path == "deploy/images/gateway.Dockerfile")
    );
    assert!(
        report
            .files
            .iter()
            .any(|file| file.path == "deploy/stack.toml" && file.uses.len() >= 2)
    );
}

/// Compares with a file that is made from code; `UPDATE=1 cargo test -p lint-images` writes it.
fn is_up_to_date(path: &Path, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == text,
        "{} is not up to date: run UPDATE=1 cargo test -p lint-images",
        path.display()
    );
}

#[test]
fn the_schema_for_editors_is_that_of_the_policy_and_accepts_ours() {
    let schema = schemars::schema_for!(crate::policy::PolicyFile);
    let text = crate::output::pretty(&schema);
    is_up_to_date(&root().join("docs/image-policy.schema.json"), &text);
    let policy = std::fs::read_to_string(root().join("deploy/image-policy.toml")).unwrap();
    let value: serde_json::Value = toml::from_str(&policy).unwrap();
    let validator = jsonschema::validator_for(&serde_json::to_value(&schema).unwrap()).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|error| error.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
}

/// The images of one YAML text: line, column and what is written.
fn yaml_images(path: &str, text: &str) -> Vec<(usize, usize, String)> {
    let inputs = vec![Input {
        path: path.to_owned(),
        form: sources::Form::Yaml,
        content: Content::Bytes(text.as_bytes().to_vec()),
    }];
    let report = judge(inputs, &Policy::empty(), day(), false, true);
    let uses = report.files.iter().flat_map(|file| &file.uses);
    uses.map(|each| (each.place.line, each.place.column, each.raw.clone()))
        .collect()
}

#[track_caller]
fn yaml_has(path: &str, text: &str, expected: &[(usize, usize, &str)]) {
    let found = yaml_images(path, text);
    let found: Vec<_> = found
        .iter()
        .map(|(line, column, raw)| (*line, *column, raw.as_str()))
        .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn manifests_of_every_container_kind_and_several_documents() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      initContainers: [{ name: a, image: init:1 }]
      containers:
        - name: b
          image: \"main:2\"   # quoted
        - image: 'third:3'
      ephemeralContainers:
        - { image: debug:4 }
      volumes:
        - name: v
          image: { reference: data:5 }
---
# a comment: image: none
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    spec: { containers: [ { image: listed:6 } ] }
---
apiVersion: v1
kind: ConfigMap
data: { image: not-an-image }
";
    yaml_has(
        "a.yaml",
        text,
        &[
            (6, 42, "init:1"),
            (9, 19, "main:2"),
            (10, 19, "third:3"),
            (12, 20, "debug:4"),
            (15, 31, "data:5"),
            (23, 36, "listed:6"),
        ],
    );
}

#[test]
fn lists_of_pod_templates_in_custom_resources() {
    let text = "\
apiVersion: example.org/v1
kind: Fleet
spec:
  groups:
    - template: { spec: { containers: [ { image: one:1 } ] } }
    - template: { spec: { containers: { main: { image: two:2 } } } }
";
    yaml_has("fleet.yaml", text, &[(5, 50, "one:1"), (6, 56, "two:2")]);
}

#[test]
fn anchors_and_merge_keys_are_followed_and_reported_once_where_they_are_written() {
    let text = "\
apiVersion: v1
kind: Pod
spec:
  initContainers:
    - &base { name: a, image: &image shared:1 }
  containers:
    - *base
    - { <<: *base, name: b }
    - { name: c, image: *image }
    - { name: d, image: own:2 }
";
    yaml_has("pod.yaml", text, &[(5, 38, "shared:1"), (10, 25, "own:2")]);
}

#[test]
fn anchors_that_multiply_do_not() {
    let mut text = "apiVersion: v1\nkind: Pod\na0: &a0 { containers: [ { image: x:1 } ] }\n".to_owned();
    for level in 1..40 {
        text.push_str(&format!(
            "a{level}: &a{level} [ *a{0}, *a{0}, *a{0} ]\n",
            level - 1
        ));
    }
    yaml_has("bomb.yaml", &text, &[(3, 34, "x:1")]);
}

#[test]
fn kustomizations_say_what_an_image_becomes() {
    let text = "\
images:
  - name: app
    newName: quay.io/own/app
    newTag: \"1.5\"
  - name: db
    digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
";
    let digest = format!("db@sha256:{}", "a".repeat(64));
    yaml_has(
        "kustomization.yaml",
        text,
        &[(3, 14, "quay.io/own/app:1.5"), (5, 11, &digest)],
    );
}

#[test]
fn compose_files_with_defaults_and_without_what_is_built() {
    let text = "\
services:
  a: { image: \"redis:${REDIS:-7}\" }
  b: { image: own/app, build: . }
  c:
    image: postgres:16
";
    yaml_has(
        "compose.yaml",
        text,
        &[(2, 15, "redis:${REDIS:-7}"), (5, 12, "postgres:16")],
    );
}

#[test]
fn workflows_actions_and_pipelines() {
    let workflow = "\
on: push
jobs:
  a:
    container: { image: node:20 }
    services: { db: { image: postgres:16 } }
    steps:
      - uses: actions/checkout@v4
      - uses: docker://alpine:3
      - run: docker run image
  b:
    container: ${{ matrix.image }}
";
    yaml_has(
        ".github/workflows/a.yml",
        workflow,
        &[(4, 25, "node:20"), (5, 30, "postgres:16"), (8, 24, "alpine:3")],
    );
    yaml_has(
        "action.yml",
        "runs: { using: docker, image: 'docker://ghcr.io/a/b:1' }\n",
        &[(1, 41, "ghcr.io/a/b:1")],
    );
    let pipeline =
        "image: ruby:3\ntest:\n  image: { name: go:1 }\n  services: [ redis:7, { name: mysql:8 } ]\n";
    yaml_has(
        ".gitlab-ci.yml",
        pipeline,
        &[
            (1, 8, "ruby:3"),
            (3, 18, "go:1"),
            (4, 15, "redis:7"),
            (4, 32, "mysql:8"),
        ],
    );
}

#[test]
fn helm_values_and_kind_clusters() {
    let values =
        "image:\n  registry: quay.io\n  repository: own/app\n  tag: \"1\"\nsidecar:\n  image: envoy:2\n";
    yaml_has(
        "values.yaml",
        values,
        &[(3, 15, "quay.io/own/app:1"), (6, 10, "envoy:2")],
    );
    let kind = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - role: control-plane\n    image: kindest/node:v1\n";
    yaml_has("kind.yaml", kind, &[(5, 12, "kindest/node:v1")]);
}

#[test]
fn look_alikes_are_named_as_what_they_look_like() {
    for (image, part) in [
        (
            "registry.access.redhat.com.evil.example/ubi9/ubi:latest",
            "only looks like it",
        ),
        ("registry.acess.redhat.com/ubi9/ubi:latest", "only looks like it"),
        (
            "registry.access.redhat.com:8443/ubi9/ubi:latest",
            "only looks like it",
        ),
        (
            "quay.io/jordigilh-evil/x:latest",
            "not of an approved organisation",
        ),
        (
            "evil.example/registry.access.redhat.com/ubi9/ubi:latest",
            "no declared mirror",
        ),
        ("QUAY.IO/other/x:latest", "not of an approved organisation"),
        (
            "registry-1.docker.io/library/alpine:3",
            "not an approved registry",
        ),
    ] {
        let text = format!(
            "FROM {image}\nUSER 1001\nLABEL name=a vendor=b summary=c description=d io.k8s.display-name=e io.k8s.description=f\n"
        );
        let report = judged(&[("Dockerfile".to_owned(), text)]);
        let messages: Vec<_> = report
            .files
            .iter()
            .flat_map(|file| &file.findings)
            .map(|it| it.message.as_str())
            .collect();
        assert_eq!(messages.len(), 1, "{image}: {messages:?}");
        assert!(messages[0].contains(part), "{image}: {messages:?}");
    }
}

#[test]
fn a_declared_mirror_is_judged_as_what_it_stands_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".image-policy.toml");
    let policy = "version = 1\n[policy]\nname = \"p\"\n[levels]\nhygiene = \"off\"\n[[registries]]\ntier = \"required\"\nregistry = \"registry.access.redhat.com\"\n[[mirrors]]\nmirror = \"mirror.example:5000/redhat\"\nof = \"registry.access.redhat.com\"\n[[images]]\nmatch = [\"registry.access.redhat.com/ubi9/ubi\"]\nruntime = { tag = \"latest\" }\n";
    std::fs::write(&path, policy).unwrap();
    let policy = policy::load(&path, folder.path()).unwrap();
    let rules = |text: &str| {
        let content = Content::Bytes(text.as_bytes().to_vec());
        let input = Input {
            path: "Dockerfile".to_owned(),
            form: sources::Form::Dockerfile,
            content,
        };
        rules_of(&judge(vec![input], &policy, day(), false, true))
    };
    assert_eq!(rules("FROM mirror.example:5000/redhat/ubi9/ubi:latest\n"), []);
    assert_eq!(
        rules("FROM mirror.example:5000/redhat/ubi9/ubi:9\n"),
        [Rule::RuntimeTag]
    );
    assert_eq!(
        rules("FROM mirror.example:5000/other/ubi9/ubi:latest\n"),
        [Rule::Registry]
    );
}
