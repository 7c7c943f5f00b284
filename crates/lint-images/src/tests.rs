//! Examples of each rule's page, this repository, and whole runs on files in memory.

mod yaml;

use std::path::{Path, PathBuf};

use crate::date::Date;
use crate::model::{Level, Rule};
use crate::policy::{self, Policy};
use crate::sources::{self, Content, Input, Inputs, Store};
use crate::{Report, check};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Returns this repository's policy with other exceptions.
fn policy_with(exceptions: &str) -> Policy {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(
        root().join("deploy/image-policy.toml"),
        folder.path().join("image-policy.toml"),
    )
    .unwrap();
    std::fs::write(folder.path().join("image-exceptions.toml"), exceptions).unwrap();
    let path = folder.path().join("image-policy.toml");
    let mut policy = policy::load(&path, &Store::WorkTree(folder.path())).unwrap();
    // The files in memory have none that the patterns exclude.
    policy.excluded = Default::default();
    policy
}

fn day() -> Date {
    "2026-06-01".parse().unwrap()
}

/// Returns the messages of all findings.
fn messages_of(report: &Report) -> Vec<&str> {
    let findings = report.files.iter().flat_map(|file| &file.findings);
    findings.map(|finding| &*finding.message).collect()
}

/// Checks files given as (path, text); `image-exceptions.toml` sets the exceptions.
fn check_files(files: &[(String, String)]) -> Report {
    let exceptions = files.iter().find(|(path, _)| path == "image-exceptions.toml");
    let policy = policy_with(exceptions.map_or("", |(_, text)| text));
    let inputs = files
        .iter()
        .filter(|(path, _)| path != "image-exceptions.toml")
        .map(|(path, text)| Input {
            path: path.clone(),
            form: sources::format_of(path, &policy).unwrap(),
            content: Content::Bytes(text.clone().into_bytes()),
        })
        .collect();
    check(
        Inputs::Listed(inputs),
        &policy,
        &Store::WorkTree(Path::new("nowhere")),
        day(),
        true,
        true,
    )
}

fn rules_of(report: &Report) -> Vec<Rule> {
    report
        .files
        .iter()
        .flat_map(|file| &file.findings)
        .map(|finding| finding.rule)
        .collect()
}

/// Returns the fenced examples under a heading of a page: (path, text).
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
fn failing_examples_violate_their_rule_only() {
    for rule in Rule::ALL {
        let files = examples(rule.page(), "Fails");
        assert!(!files.is_empty(), "{rule} has no failing example");
        let found = rules_of(&check_files(&files));
        let also = match rule {
            // An expired exception does not remove the finding that it is about.
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
fn passing_examples_have_no_findings() {
    for rule in Rule::ALL {
        let files = examples(rule.page(), "Passes");
        assert!(!files.is_empty(), "{rule} has no passing example");
        let report = check_files(&files);
        assert_eq!(rules_of(&report), [], "{rule}");
        assert!(
            report.files.iter().any(|file| !file.uses.is_empty()),
            "{rule}: the example names no image"
        );
    }
}

#[test]
fn this_repository_has_no_findings() {
    let root = root();
    let store = Store::WorkTree(&root);
    let policy = policy::load(&policy::find(&store).unwrap(), &store).unwrap();
    let report = check(Inputs::Tree(&root), &policy, &store, day(), true, true);
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

/// Compares a generated file with its expected text; `UPDATE=1 cargo test -p lint-images` writes it.
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
fn schema_is_current_and_accepts_the_policy() {
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

#[test]
fn names_look_alike_registries() {
    for (image, part) in [
        (
            "registry.access.redhat.com.evil.example/ubi9/ubi:latest",
            "but looks like",
        ),
        ("registry.acess.redhat.com/ubi9/ubi:latest", "but looks like"),
        (
            "registry.access.redhat.com:8443/ubi9/ubi:latest",
            "but looks like",
        ),
        (
            "quay.io/jordigilh-evil/x:latest",
            "does not belong to an approved organisation",
        ),
        (
            "evil.example/registry.access.redhat.com/ubi9/ubi:latest",
            "is not a declared mirror",
        ),
        (
            "QUAY.IO/other/x:latest",
            "does not belong to an approved organisation",
        ),
        (
            "registry-1.docker.io/library/alpine:3",
            "not an approved registry",
        ),
    ] {
        let text = format!(
            "FROM {image}\nUSER 1001\nLABEL name=a vendor=b summary=c description=d io.k8s.display-name=e io.k8s.description=f\n"
        );
        let report = check_files(&[("Dockerfile".to_owned(), text)]);
        let messages = messages_of(&report);
        assert_eq!(messages.len(), 1, "{image}: {messages:?}");
        assert!(messages[0].contains(part), "{image}: {messages:?}");
    }
}

#[test]
fn checks_image_of_declared_mirror_as_its_original() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".image-policy.toml");
    let policy = "version = 1\n[policy]\nname = \"p\"\n[levels]\nhygiene = \"off\"\n[[registries]]\ntier = \"required\"\nregistry = \"registry.access.redhat.com\"\n[[mirrors]]\nmirror = \"mirror.example:5000/redhat\"\nof = \"registry.access.redhat.com\"\n[[images]]\nmatch = [\"registry.access.redhat.com/ubi9/ubi\"]\nruntime = { tag = \"latest\" }\n";
    std::fs::write(&path, policy).unwrap();
    let store = Store::WorkTree(folder.path());
    let policy = policy::load(&path, &store).unwrap();
    let rules = |text: &str| {
        let content = Content::Bytes(text.as_bytes().to_vec());
        let input = Input {
            path: "Dockerfile".to_owned(),
            form: sources::FileFormat::Dockerfile,
            content,
        };
        rules_of(&check(
            Inputs::Listed(vec![input]),
            &policy,
            &store,
            day(),
            false,
            true,
        ))
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

#[test]
fn fixes_other_files_if_one_cannot_be_written() {
    let text = "FROM registry.access.redhat.com/ubi9/ubi-minimal\nUSER 1001\nLABEL name=a vendor=b summary=c description=d io.k8s.display-name=e io.k8s.description=f\n";
    let names = ["a/Dockerfile", "b/Dockerfile"];
    let report = check_files(&names.map(|name| (name.to_owned(), text.to_owned())));
    let folder = tempfile::tempdir().unwrap();
    // The first file is gone.
    std::fs::create_dir(folder.path().join("b")).unwrap();
    std::fs::write(folder.path().join("b/Dockerfile"), text).unwrap();
    let applied = crate::run::apply_fixes(&report, folder.path());
    assert_eq!((applied.written, applied.failed), (1, 1));
    let fixed = std::fs::read_to_string(folder.path().join("b/Dockerfile")).unwrap();
    assert_eq!(fixed, text.replace("ubi-minimal\n", "ubi-minimal:latest\n"));
}
