//! The project's language: old words stay out of messages, comments and docs (docs/glossary.md).
//!
//! `words.toml` lists the old words, what stands in their place, and what may stay with the reason. A new word is a
//! table there and a row of the glossary; no Rust.

#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    /// Endings of the files that are read.
    read: Vec<String>,
    exempt: Vec<Exempt>,
    word: Vec<Word>,
}

/// Files that are not the project's own words.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exempt {
    path: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    /// Phrases of lower-case words; each is looked for in prose and, by the words that it is made of, in identifiers.
    old: Vec<String>,
    /// Left column of the glossary, where it is not `old` itself.
    standard: String,
    #[serde(default)]
    keep: Vec<Keep>,
}

/// A use that stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keep {
    /// A longer phrase that contains the old one.
    phrase: Option<String>,
    /// A path prefix below which the word may stay.
    path: Option<String>,
    reason: String,
}

/// One word of a file, and its line from 1.
struct Token {
    text: String,
    line: usize,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rules() -> Rules {
    toml::from_str(include_str!("words.toml")).unwrap_or_else(|error| panic!("words.toml: {error}"))
}

/// Tracked files, as paths relative to the root.
fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    let names = String::from_utf8(output.stdout).unwrap();
    names
        .split_terminator('\0')
        .map(str::to_owned)
        .filter(|path| root().join(path).is_file())
        .collect()
}

/// Splits text into lower-case words: at anything but letters, and within `camelCase`.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut word = String::new();
        let mut after_lower = false;
        for character in line.chars().chain([' ']) {
            let begins = character.is_uppercase() && after_lower;
            if (!character.is_alphabetic() || begins) && !word.is_empty() {
                let text = std::mem::take(&mut word);
                tokens.push(Token {
                    text,
                    line: index + 1,
                });
            }
            if character.is_alphabetic() {
                word.extend(character.to_lowercase());
            }
            after_lower = character.is_lowercase();
        }
    }
    tokens
}

fn words(phrase: &str) -> Vec<String> {
    tokens(phrase).into_iter().map(|token| token.text).collect()
}

/// Whether `phrase` begins at `at`.
fn begins(tokens: &[Token], at: usize, phrase: &[String]) -> bool {
    tokens
        .get(at..at + phrase.len())
        .is_some_and(|found| found.iter().zip(phrase).all(|(token, word)| token.text == *word))
}

/// Whether a kept phrase covers the words from `at`.
fn covered(tokens: &[Token], at: usize, kept: &[Vec<String>]) -> bool {
    kept.iter().any(|phrase| {
        (at.saturating_sub(phrase.len())..=at)
            .any(|start| start + phrase.len() > at && begins(tokens, start, phrase))
    })
}

/// Findings of one text as `path:line: message`; the number of a word's keeps that were used goes to `used`.
fn findings(path: &str, text: &str, rules: &Rules, used: &mut BTreeSet<(usize, usize)>) -> Vec<String> {
    let tokens = tokens(text);
    // Most words can't begin at most tokens: look only at those that begin with it.
    let mut at: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        at.entry(&token.text).or_default().push(index);
    }
    let mut found = Vec::new();
    for (number, word) in rules.word.iter().enumerate() {
        for old in &word.old {
            let phrase = words(old);
            let starts = at.get(phrase[0].as_str()).into_iter().flatten();
            for &start in starts.filter(|start| begins(&tokens, **start, &phrase)) {
                let keeps = |keep: &Keep| {
                    keep.path.as_ref().is_none_or(|prefix| path.starts_with(prefix))
                        && keep
                            .phrase
                            .as_ref()
                            .is_none_or(|phrase| covered(&tokens, start, &[words(phrase)]))
                };
                match word.keep.iter().position(keeps) {
                    Some(keep) => _ = used.insert((number, keep)),
                    None => found.push(format!(
                        "{path}:{}: \"{old}\": write {}",
                        tokens[start].line, word.standard
                    )),
                }
            }
        }
    }
    found
}

#[test]
fn old_words_are_not_used() {
    let rules = rules();
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for path in tracked() {
        let read = rules.read.iter().any(|ending| path.ends_with(ending.as_str()));
        if !read || rules.exempt.iter().any(|exempt| path.starts_with(&exempt.path)) {
            continue;
        }
        let text = fs::read_to_string(root().join(&path)).unwrap();
        found.extend(findings(&path, &text, &rules, &mut used));
    }
    assert!(
        found.is_empty(),
        "{} old words (docs/glossary.md):\n{}",
        found.len(),
        found.join("\n")
    );
    let unused = rules.word.iter().enumerate().flat_map(|(number, word)| {
        let used = &used;
        let keeps = word.keep.iter().enumerate();
        keeps.filter_map(move |(index, keep)| (!used.contains(&(number, index))).then_some(&keep.reason))
    });
    let unused: Vec<&String> = unused.collect();
    assert!(
        unused.is_empty(),
        "words.toml: exceptions that nothing needs: {unused:#?}"
    );
}

#[test]
fn exceptions_have_a_reason_and_exempt_paths_exist() {
    let rules = rules();
    let tracked = tracked();
    for exempt in &rules.exempt {
        assert!(!exempt.reason.is_empty(), "{} has no reason", exempt.path);
        let exists = tracked.iter().any(|path| path.starts_with(&exempt.path));
        assert!(exists, "{} is exempt and does not exist", exempt.path);
    }
    for keep in rules.word.iter().flat_map(|word| &word.keep) {
        assert!(
            !keep.reason.is_empty(),
            "{:?} {:?} has no reason",
            keep.phrase,
            keep.path
        );
        assert!(
            keep.phrase.is_some() || keep.path.is_some(),
            "{}: keeps the word everywhere",
            keep.reason
        );
    }
}

#[test]
fn glossary_lists_every_old_word() {
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let rules = rules();
    let missing: Vec<&String> = rules
        .word
        .iter()
        .filter_map(|word| word.old.first())
        .filter(|old| !glossary.contains(&format!("| {old}")))
        .collect();
    assert!(missing.is_empty(), "docs/glossary.md has no row for {missing:?}");
}

#[test]
fn finds_words_in_prose_and_identifiers() {
    let rules: Rules = toml::from_str(
        "read = []\nexempt = []\n[[word]]\nold = ['refused', 'at hand']\nstandard = 'rejected'\n\
         keep = [{ phrase = 'connection refused', reason = 'the network' }, { path = 'sql/', reason = 'stored' }]",
    )
    .unwrap();
    let lines = |path: &str, text: &str| {
        let found = findings(path, text, &rules, &mut BTreeSet::new());
        found.len()
    };
    assert_eq!(
        lines("a.rs", "// refused\nfn is_refused() {}\nenum WasRefused {}"),
        3
    );
    assert_eq!(lines("a.rs", "is at\nhand, at-hand, hand at"), 2);
    assert_eq!(
        lines("a.rs", "ErrorKind::ConnectionRefused, connection refused"),
        0
    );
    assert_eq!(lines("sql/a.sql", "refused"), 0);
    assert_eq!(lines("a.rs", "unrefused refusedness"), 0);
}

#[test]
fn index_of_decisions_lists_every_record() {
    let folder = root().join("docs/adr");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for path in tracked().iter().filter(|path| path.starts_with("docs/adr/0")) {
        let name = path.rsplit('/').next().unwrap();
        let text = fs::read_to_string(root().join(path)).unwrap();
        let heading = text.lines().next().unwrap_or_default();
        let title = heading.strip_prefix(&format!("# ADR-{}: ", &name[1..4]));
        let title =
            title.unwrap_or_else(|| panic!("{path}: the heading is not `# ADR-{}: TITLE`", &name[1..4]));
        assert!(text.contains("\nStatus: "), "{path}: no status");
        let row = format!("| [ADR-{}]({name}) | {title} |", &name[1..4]);
        assert!(index.contains(&row), "docs/adr/README.md has no row `{row}`");
    }
}

#[test]
fn markdown_wraps_at_100_columns() {
    let mut long = Vec::new();
    for path in tracked().iter().filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut in_code = false;
        for (index, line) in text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            // Tables, code, pictures and a single long link can't be wrapped.
            let fixed =
                in_code || line.starts_with('|') || line.starts_with("![") || !line.trim().contains(' ');
            if !fixed && line.chars().count() > 100 {
                long.push(format!("{path}:{}: {} columns", index + 1, line.chars().count()));
            }
        }
    }
    assert!(
        long.is_empty(),
        "{} lines over 100 columns:\n{}",
        long.len(),
        long.join("\n")
    );
}
