//! Program `lint-images`: checks every image that a repository builds on or runs against its registry policy.
//!
//! Hooks and `cargo xtask lint-images` start it; docs/lint-images.md is the manual.
//!
//! ```sh
//! cargo xtask lint-images deploy
//! ```

mod date;
mod fix;
mod init;
mod model;
mod options;
mod output;
mod policy;
mod rules;
mod run;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser;

use crate::date::Date;
use crate::model::{File, Level, Rule};
use crate::options::Options;
use crate::policy::Policy;
use crate::sources::{Inputs, Store};

fn main() -> ExitCode {
    run::run(Options::parse()).unwrap_or_else(|error| {
        subprocess::eprint_line(format!("error: {error:#}"));
        ExitCode::from(3)
    })
}

/// Result of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// Number of files read.
    pub(crate) read: usize,
    /// Number of findings in the baseline.
    pub(crate) accepted: usize,
    /// Files with their findings, sorted by path; files without findings are included.
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
            .any(|file| file.skipped.iter().any(|each| each.unreadable))
    }
}

/// Reads the inputs and checks them against the policy.
///
/// `whole_tree`: the inputs are all files of the repository, so that absent uses are findings. `keep_text`: keep the
/// texts of files with findings, for outputs that show or edit them.
pub(crate) fn check(
    inputs: Inputs<'_>,
    policy: &Policy,
    store: &Store<'_>,
    today: Date,
    whole_tree: bool,
    keep_text: bool,
) -> Report {
    let mut files = sources::read_all(inputs, policy, |input, buffer| {
        let (mut file, text) = sources::read(input, policy, store, buffer);
        rules::check_images(&mut file, policy);
        let may_be_shown =
            !(file.findings.is_empty() && file.allowances.is_empty() && file.dockerfiles.is_empty());
        // Unused capacity adds up over thousands of files.
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
    let accepted = rules::apply_baseline(&mut files, policy, whole_tree);
    for file in &mut files {
        for finding in &mut file.findings {
            finding.level = policy.level_in(&file.path, finding.rule, finding.level);
        }
        file.findings.retain(|finding| finding.level != Level::Off);
        file.findings
            .sort_by_key(|finding| (finding.location.line, finding.location.column, finding.rule));
    }
    let citations = Rule::ALL
        .iter()
        .map(|rule| (*rule, policy.citation(*rule)))
        .collect();
    Report {
        read,
        accepted,
        files,
        citations,
    }
}
