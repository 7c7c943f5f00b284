//! Baseline: findings that are accepted, so that only new ones fail.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::model::{File, Finding, Level, Location, Rule};

/// Baseline file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BaselineFile {
    /// Version of the format: 1.
    version: u32,
    #[serde(default)]
    unreadable: Vec<Unreadable>,
    #[serde(default)]
    findings: Vec<Accepted>,
}

/// Input that cannot be read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unreadable {
    file: String,
}

/// Accepted findings of one rule about one image in a file. Lines do not count, as edits move them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    file: String,
    rule: Rule,
    /// Image, or the message of a finding without one.
    about: String,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    count: usize,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// Accepted findings.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    /// Path relative to the repository root.
    pub(crate) path: String,
    pub(crate) text: String,
    file: BaselineFile,
}

/// Returns what a finding is about, independently of its line.
pub(crate) fn about(file: &File, finding: &Finding) -> String {
    let each = finding.use_index.and_then(|index| file.uses.get(index));
    let each = each.or_else(|| file.uses.iter().find(|each| each.location == finding.location));
    match each {
        Some(each) => each
            .image
            .as_ref()
            .map_or_else(|_| each.raw.clone(), ToString::to_string),
        None => finding.message.to_string(),
    }
}

const HEAD: &str = "\
# Findings of lint-images that are accepted for now: only others fail. Remove entries as you correct them; entries that no
# longer occur are reported. `lint-images --update-baseline` writes this file.
";

/// Numbers of findings that are accepted yet, by file, rule and what they are about.
type Left = BTreeMap<(String, Rule, String), usize>;

impl Baseline {
    pub(super) fn new(path: String, text: String, file: BaselineFile) -> Result<Baseline, String> {
        match file.version {
            1 => Ok(Baseline { path, text, file }),
            version => Err(format!(
                "unsupported format version {version}: this linter supports version 1"
            )),
        }
    }

    /// Returns the text of a baseline that accepts all errors and unreadable inputs of a run; `None` if there are none.
    pub(crate) fn of(files: &[File]) -> Option<String> {
        let mut counts: BTreeMap<(&str, Rule, String), usize> = BTreeMap::new();
        for file in files {
            for finding in file
                .findings
                .iter()
                .filter(|finding| finding.level == Level::Error)
            {
                *counts
                    .entry((&file.path, finding.rule, about(file, finding)))
                    .or_default() += 1;
            }
        }
        let is_unreadable = |file: &&File| file.skipped.iter().any(|each| each.unreadable);
        let unreadable = files.iter().filter(is_unreadable).map(|file| Unreadable {
            file: file.path.clone(),
        });
        let findings = counts.into_iter().map(|((file, rule, about), count)| Accepted {
            file: file.to_owned(),
            rule,
            about,
            count,
        });
        let baseline = BaselineFile {
            version: 1,
            unreadable: unreadable.collect(),
            findings: findings.collect(),
        };
        if baseline.unreadable.is_empty() && baseline.findings.is_empty() {
            return None;
        }
        let mut text = HEAD.to_owned();
        // Strings and numbers always serialize.
        let _ = write!(text, "{}", toml::to_string(&baseline).unwrap_or_default());
        Some(text)
    }

    /// Returns a baseline file that accepts nothing.
    pub(crate) fn empty() -> String {
        format!("{HEAD}version = 1\n")
    }

    /// Removes accepted findings, and marks accepted inputs as not to fail. Returns the number of findings removed and
    /// the entries that were not needed: location and text.
    pub(crate) fn apply(&self, files: &mut [File]) -> (usize, Vec<(Location, String)>) {
        let mut left = Left::new();
        for each in &self.file.findings {
            *left
                .entry((each.file.clone(), each.rule, each.about.clone()))
                .or_default() += each.count;
        }
        let mut unreadable: BTreeMap<&str, bool> = self
            .file
            .unreadable
            .iter()
            .map(|each| (each.file.as_str(), false))
            .collect();
        let mut accepted = 0;
        if !(left.is_empty() && unreadable.is_empty()) {
            for file in files {
                accepted += accept(file, &mut left);
                if let Some(used) = unreadable.get_mut(file.path.as_str()) {
                    for each in file.skipped.iter_mut().filter(|each| each.unreadable) {
                        *used = true;
                        each.unreadable = false;
                    }
                }
            }
        }
        let unused = left.into_iter().filter(|(_, count)| *count > 0);
        let unused = unused.map(|((file, rule, about), count)| {
            (
                self.locate(&file, &about),
                format!("{count} of {rule} about {about} in {file}"),
            )
        });
        let readable = unreadable.into_iter().filter(|(_, used)| !used);
        let readable = readable.map(|(file, _)| (self.locate(file, file), format!("unreadable {file}")));
        (accepted, unused.chain(readable).collect())
    }

    /// Returns the line of an entry: the first line with a text, after the first one with its file.
    fn locate(&self, file: &str, about: &str) -> Location {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let (file, about) = (quoted(file), quoted(about));
        let mut lines = self
            .text
            .lines()
            .enumerate()
            .skip_while(|(_, line)| !line.contains(&file));
        let found = lines.find(|(_, line)| line.contains(&about));
        Location {
            line: found.map_or(1, |(index, _)| index + 1),
            column: 1,
            span: 0..0,
        }
    }
}

/// Removes the accepted findings of a file. Returns their number.
fn accept(file: &mut File, left: &mut Left) -> usize {
    let findings = std::mem::take(&mut file.findings);
    let before = findings.len();
    let mut kept = Vec::with_capacity(before);
    for finding in findings {
        let about = about(file, &finding);
        let key = (file.path.clone(), finding.rule, about);
        match left.get_mut(&key) {
            Some(count) if *count > 0 => *count -= 1,
            _ => kept.push(finding),
        }
    }
    file.findings = kept;
    before - file.findings.len()
}
