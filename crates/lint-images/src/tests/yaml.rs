//! Images found in YAML, and their locations.

use super::day;
use crate::check;
use crate::policy::Policy;
use crate::sources::{self, Content, Input, Inputs, Store};

/// Returns the images of a YAML text: line, column, text.
fn yaml_images(path: &str, text: &str) -> Vec<(usize, usize, String)> {
    let inputs = vec![Input {
        path: path.to_owned(),
        form: sources::FileFormat::Yaml,
        content: Content::Bytes(text.as_bytes().to_vec()),
    }];
    let store = Store::WorkTree(std::path::Path::new("nowhere"));
    let report = check(
        Inputs::Listed(inputs),
        &Policy::default(),
        &store,
        day(),
        false,
        true,
    );
    let uses = report.files.iter().flat_map(|file| &file.uses);
    uses.map(|each| (each.location.line, each.location.column, each.raw.clone()))
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
fn finds_every_kind_of_container_in_several_documents() {
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
fn finds_pod_templates_in_custom_resources() {
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
fn follows_anchors_and_merge_keys_once() {
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
fn nested_aliases_do_not_expand() {
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
fn finds_images_that_kustomizations_set() {
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
fn finds_compose_images_with_defaults_and_skips_built_services() {
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
        &[(2, 16, "redis:${REDIS:-7}"), (5, 12, "postgres:16")],
    );
}

#[test]
fn finds_images_of_workflows_actions_and_pipelines() {
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
fn finds_images_of_helm_values_and_kind_clusters() {
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
fn nested_texts_do_not_exhaust_the_stack() {
    let levels = 400;
    let mut text = "apiVersion: v1\nkind: Pod\n".to_owned();
    for level in 0..levels {
        text.push_str(&format!("{}image-text: |\n", " ".repeat(level)));
    }
    text.push_str(&format!("{}image: x:1\n", " ".repeat(levels)));
    yaml_has("nested.yaml", &text, &[]);
    let patch = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: |\n    apiVersion: v1\n    kind: ConfigMap\n    data:\n      b: |\n        apiVersion: v1\n        kind: Pod\n        spec: { containers: [ { image: deep:1 } ] }\n";
    yaml_has("map.yaml", patch, &[(11, 40, "deep:1")]);
}

#[test]
fn reads_inline_dockerfiles_with_other_characters() {
    let text = "services:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM é AS x\n        FROM é\n        FROM a:1\n";
    yaml_has(
        "compose.yaml",
        text,
        &[(5, 14, "é"), (6, 14, "é"), (7, 14, "a:1")],
    );
}
