//! Cases with known results: each file of `cases/` against its `.json`, each line of `references.jsonl`.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::path::{Path, PathBuf};

use dockerfile::{BuildArguments, ImageReference, LineIndex};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    references: Vec<Expected>,
    stages: Option<Vec<String>>,
    error: Option<String>,
    references_if_lenient: Option<Vec<(usize, String)>>,
}

#[derive(Deserialize, Debug)]
struct Expected {
    line: usize,
    kind: String,
    raw: String,
    expanded: String,
    token_line: Option<usize>,
    normalized: Option<String>,
    #[serde(default)]
    ref_error: bool,
    #[serde(default)]
    unmatched: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn text_of(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

#[test]
fn references_of_each_case_equal_the_recorded_ones() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Case = serde_json::from_str(&text_of(&path)).unwrap();
        if let Err(difference) = check(&case, &text_of(&path.with_extension("Dockerfile"))) {
            wrong.push(format!("{}: {difference}", path.file_stem().unwrap().display()));
        }
        checked += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked >= 70, "only {checked} cases found");
}

fn check(case: &Case, text: &str) -> Result<(), String> {
    let file = dockerfile::parse(text);
    let images = dockerfile::images(&file, &BuildArguments::new());
    let lines = LineIndex::new(text);
    let problems: Vec<_> = file
        .problems
        .iter()
        .chain(&images.problems)
        .map(ToString::to_string)
        .collect();
    if case.error.is_some() == problems.is_empty() {
        return Err(format!("error {:?}, but problems {problems:?}", case.error));
    }
    if case.references.is_empty()
        && let Some(lenient) = &case.references_if_lenient
    {
        let found: Vec<_> = images
            .references
            .iter()
            .map(|it| (it.line, it.raw.clone()))
            .collect();
        return (found == *lenient)
            .then_some(())
            .ok_or(format!("lenient {lenient:?}, found {found:?}"));
    }
    if images.references.len() != case.references.len() {
        return Err(format!(
            "expected {:?}, found {:?}",
            case.references, images.references
        ));
    }
    for (expected, found) in case.references.iter().zip(&images.references) {
        let token_line = lines.position(text, found.span.start).0;
        let same = (
            expected.line,
            expected.kind.as_str(),
            expected.raw.as_str(),
            Some(expected.expanded.as_str()),
        ) == (
            found.line,
            found.kind.name(),
            found.raw.as_str(),
            found.expanded.as_deref(),
        ) && expected.token_line.is_none_or(|line| line == token_line)
            && expected.ref_error == found.image.is_err()
            && missing(found) == expected.unmatched
            && expected
                .normalized
                .as_ref()
                .is_none_or(|it| found.image.as_ref().is_ok_and(|image| image.to_string() == *it));
        if !same {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
    }
    let names: Vec<_> = images
        .stages
        .iter()
        .filter_map(|stage| stage.name.clone())
        .collect();
    match &case.stages {
        Some(stages) if *stages != names => Err(format!("stages {stages:?}, found {names:?}")),
        _ => Ok(()),
    }
}

fn missing(reference: &dockerfile::Reference) -> Vec<String> {
    match &reference.image {
        Err(dockerfile::Unresolved::Missing(names)) => names.clone(),
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct Line {
    expanded: String,
    normalized: Option<String>,
    domain: Option<String>,
    path: Option<String>,
    tag: Option<String>,
    digest: Option<String>,
    ref_error: Option<String>,
}

/// The front end's rule for `COPY --from`; the grammar of references has no such rule.
const NO_VARIABLES: &str = "variable expansion is not supported for --from";

#[test]
fn each_reference_parses_as_registries_parse_it() {
    let mut checked = 0;
    for line in text_of(&folder().join("references.jsonl")).lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        let found: Result<ImageReference, _> = line.expanded.parse();
        checked += 1;
        match (&found, line.ref_error.as_deref()) {
            (Ok(image), None) => {
                assert_eq!(Some(image.to_string()), line.normalized, "{}", line.expanded);
                assert_eq!(Some(image.domain()), line.domain.as_deref(), "{}", line.expanded);
                assert_eq!(Some(image.path()), line.path.as_deref(), "{}", line.expanded);
                assert_eq!(image.tag(), line.tag.as_deref(), "{}", line.expanded);
                assert_eq!(image.digest(), line.digest.as_deref(), "{}", line.expanded);
            }
            (Err(_), Some(NO_VARIABLES)) => {
                let text = format!("FROM scratch\nCOPY --from={} /a /b\n", line.expanded);
                let images = dockerfile::images(&dockerfile::parse(&text), &BuildArguments::new());
                assert_eq!(
                    images.references[0].image.as_ref().unwrap_err().to_string(),
                    NO_VARIABLES
                );
            }
            (Err(error), Some(expected)) => assert_eq!(error.to_string(), expected, "{}", line.expanded),
            (found, expected) => panic!("{}: expected {expected:?}, found {found:?}", line.expanded),
        }
    }
    assert!(checked >= 1446, "only {checked} references found");
}
