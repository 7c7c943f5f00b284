//! Parses the fuzzer's corpus in debug builds, whose overflow checks turn arithmetic errors into panics.

#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

use std::collections::BTreeMap;
use std::path::Path;

use dockerfile::{BuildArguments, ImageReference, images, parse};

fn corpus(name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzzed")
        .join(name)
        .with_extension("jsonl");
    let lines = std::fs::read_to_string(&path).unwrap();
    let texts: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(texts.len() > 50, "{}: only {} texts", path.display(), texts.len());
    texts
}

#[test]
fn each_text_parses_and_its_printed_form_is_stable() {
    let mut printed_count = 0;
    for text in corpus("read") {
        let file = parse(&text);
        let found = images(&file, &BuildArguments::new());
        for reference in &found.references {
            assert!(text.get(reference.span.clone()).is_some(), "{text:?}");
        }
        if file.problems.is_empty() {
            let printed = file.to_string();
            assert_eq!(parse(&printed).to_string(), printed, "{text:?}");
            printed_count += 1;
        }
    }
    assert!(printed_count > 0, "no valid file in the corpus");
}

#[test]
fn each_reference_is_parsed_or_rejected() {
    let mut valid = 0;
    for text in corpus("reference") {
        if let Ok(image) = text.parse::<ImageReference>() {
            let full = image.to_string();
            assert_eq!(
                full.parse::<ImageReference>().map(|image| image.to_string()),
                Ok(full)
            );
            valid += 1;
        }
    }
    assert!(valid > 0, "no valid reference in the corpus");
}

#[test]
fn each_word_is_expanded_or_rejected() {
    let values = BTreeMap::from([
        ("A".to_owned(), "a.b-c".to_owned()),
        ("B".to_owned(), String::new()),
    ]);
    for text in corpus("expand") {
        for escape in ['\\', '`'] {
            let _ = dockerfile::expand(&text, escape, &values);
        }
    }
}
