//! Exceptions file: images that are allowed until a review date, with justification and approval.

use std::fmt;

use globset::GlobMatcher;
use serde::Deserialize;
use toml::Spanned;
use toml::value::Datetime;

use super::matching::ImagePattern;
use crate::date::Date;
use crate::model::{Location, Rule, Use};

/// Exceptions file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionsFile {
    #[serde(default)]
    pub(super) exceptions: Vec<Spanned<ExceptionEntry>>,
}

/// Exception as written. All fields except `rules` are required, and either `image` or `text`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ExceptionEntry {
    /// Image with its registry; a trailing `/*` matches all images below.
    pub(super) image: Option<Spanned<String>>,
    /// Reference as written, if it is no image: it has a variable without a value, or is invalid.
    pub(super) text: Option<Spanned<String>>,
    /// Glob of files, relative to the repository root.
    #[serde(rename = "where")]
    pub(super) files: Spanned<String>,
    /// Service that needs the image.
    pub(super) service: Spanned<String>,
    /// Reason why no approved image serves.
    pub(super) justification: Spanned<String>,
    /// Proof of the justification: a link, a file, a measurement.
    pub(super) evidence: Spanned<String>,
    /// Name of the approver.
    pub(super) approved_by: Spanned<String>,
    /// Date of the approval.
    pub(super) date: Spanned<Datetime>,
    /// Date of the next review. The exception expires on the day after.
    pub(super) review: Spanned<Datetime>,
    /// Rules that the exception covers; all rules about images if absent.
    #[serde(default)]
    pub(super) rules: Vec<Rule>,
}

/// What an exception is about.
#[derive(Debug)]
pub(crate) enum Subject {
    Image(ImagePattern),
    /// Reference as written.
    Text(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Image(pattern) => pattern.fmt(formatter),
            Subject::Text(text) => text.fmt(formatter),
        }
    }
}

/// Validated exception.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) subject: Subject,
    pub(crate) files: GlobMatcher,
    pub(crate) where_text: String,
    pub(crate) service: String,
    pub(crate) approved_by: String,
    pub(crate) date: Date,
    pub(crate) review: Date,
    pub(crate) rules: Vec<Rule>,
    pub(crate) location: Location,
    pub(crate) review_location: Location,
}

impl Exception {
    /// Returns whether the exception is about a use.
    pub(crate) fn is_about(&self, each: &Use) -> bool {
        match &self.subject {
            Subject::Image(pattern) => each.image.as_ref().is_ok_and(|image| pattern.matches(image)),
            Subject::Text(text) => each.image.is_err() && *text == each.raw,
        }
    }

    /// Returns whether the exception covers a rule.
    pub(crate) fn covers(&self, rule: Rule) -> bool {
        const OF_TEXTS: [Rule; 2] = [Rule::Unresolved, Rule::Reference];
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
            [] => OF_IMAGES.contains(&rule) || OF_TEXTS.contains(&rule),
            rules => rules.contains(&rule),
        }
    }
}

/// All exceptions, with the file that contains them.
#[derive(Debug, Default)]
pub(crate) struct Exceptions {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) list: Vec<Exception>,
}
