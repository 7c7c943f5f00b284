//! The exceptions file: images that are allowed for a time, each with who, why and until when.

use globset::GlobMatcher;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::matching::ImagePattern;
use crate::date::Date;
use crate::model::{Place, Rule};

/// The exceptions file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionsFile {
    #[serde(default)]
    pub(super) exceptions: Vec<Spanned<ExceptionEntry>>,
}

/// One exception as it is written: all fields but `rules` are needed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ExceptionEntry {
    /// Image with its registry; `/*` at the end stands for all below.
    pub(super) image: Spanned<String>,
    /// Glob of files, from the repository's root.
    #[serde(rename = "where")]
    pub(super) files: Spanned<String>,
    /// Which service needs it.
    pub(super) service: Spanned<String>,
    /// Why there is no other way.
    pub(super) justification: Spanned<String>,
    /// What shows that: a link, a file, a measurement.
    pub(super) evidence: Spanned<String>,
    /// Who said yes.
    pub(super) approved_by: Spanned<String>,
    /// When.
    pub(super) date: Spanned<Datetime>,
    /// When it is looked at again. From the day after on it fails.
    pub(super) review: Spanned<Datetime>,
    /// Which rules it is about; without it, all rules about images.
    #[serde(default)]
    pub(super) rules: Vec<Rule>,
}

/// An exception, checked.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) image: ImagePattern,
    pub(crate) files: GlobMatcher,
    pub(crate) where_text: String,
    pub(crate) service: String,
    pub(crate) approved_by: String,
    pub(crate) date: Date,
    pub(crate) review: Date,
    pub(crate) rules: Vec<Rule>,
    pub(crate) place: Place,
    pub(crate) review_place: Place,
}

impl Exception {
    /// Whether it is about this rule at all.
    pub(crate) fn covers(&self, rule: Rule) -> bool {
        const OF_IMAGES: [Rule; 7] = [
            Rule::Registry,
            Rule::ApprovedImage,
            Rule::BuildTag,
            Rule::RuntimeTag,
            Rule::Bounds,
            Rule::Workload,
            Rule::Mirror,
        ];
        match self.rules.as_slice() {
            [] => OF_IMAGES.contains(&rule),
            rules => rules.contains(&rule),
        }
    }
}

/// All exceptions, with the file they are in.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) list: Vec<Exception>,
}
