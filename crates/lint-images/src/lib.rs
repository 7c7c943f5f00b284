//! Checks every image that a repository builds on or runs against its registry policy.
//!
//! The verb `cargo xtask lint-images` and the program `lint-images` (which hooks run) are this crate's [`run`] with
//! [`Options`]; docs/lint-images.md is the manual.

mod date;
mod fix;
mod init;
mod model;
mod options;
mod output;
mod policy;
mod rules;
mod sources;
#[cfg(test)]
mod tests;

pub use options::{Options, run};
pub use output::Format;

use std::collections::BTreeMap;

use crate::date::Date;
use crate::model::{File, Level, Rule};
use crate::policy::Policy;
use crate::sources::Inputs;

/// What a run found.
#[derive(Debug)]
pub(crate) struct Report {
    /// Files read.
    pub(crate) read: usize,
    /// Files with what was found in them, in the order of their paths; those about which nothing is to be said too.
    pub(crate) files: Vec<File>,
    citations: BTreeMap<Rule, String>,
}

impl Report {
    pub(crate) fn citation(&self, rule: Rule) -> &str {
        self.citations.get(&rule).map_or("", String::as_str)
    }

    pub(crate) fn count(&self, level: Level) -> usize {
        self.files
            .iter()
            .flat_map(|file| &file.findings)
            .filter(|finding| finding.level == level)
            .count()
    }

    pub(crate) fn is_unreadable(&self) -> bool {
        self.files
            .iter()
            .any(|file| file.not_judged.iter().any(|each| each.unreadable))
    }
}

/// Reads and judges. `whole_tree`: all files of the repository are there, so that what is missing can be told.
///
/// `keep_text`: what is to be shown or fixed needs the text of its file; else thousands need not stay in memory.
pub(crate) fn judge(
    inputs: Inputs<'_>,
    policy: &Policy,
    today: Date,
    whole_tree: bool,
    keep_text: bool,
) -> Report {
    let mut files = sources::read_all(inputs, policy, |input, buffer| {
        let (mut file, text) = sources::read(input, policy, buffer);
        rules::check_images(&mut file, policy);
        let may_be_shown =
            !(file.findings.is_empty() && file.allowances.is_empty() && file.dockerfiles.is_empty());
        // There are as many of these as there are files: room that is not used would add up.
        file.findings.shrink_to_fit();
        if keep_text && may_be_shown {
            file.text = text.into_owned();
        }
        file
    });
    let read = files.len();
    if whole_tree {
        rules::check_consistency(&mut files, policy);
    }
    rules::apply_exceptions(&mut files, policy, today, whole_tree);
    for file in &mut files {
        file.findings.retain(|finding| finding.level != Level::Off);
        file.findings
            .sort_by_key(|finding| (finding.place.line, finding.place.column, finding.rule));
    }
    let citations = Rule::ALL
        .iter()
        .map(|rule| (*rule, policy.citation(*rule)))
        .collect();
    Report {
        read,
        files,
        citations,
    }
}
