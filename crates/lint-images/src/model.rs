//! Image uses, findings and edits.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use dockerfile::{Dockerfile, ImageReference, LineIndex};
use serde::{Deserialize, Serialize};

/// Purpose of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Stage or image that others only copy from.
    Build,
    /// Stage that can be the result of a build.
    Runtime,
    /// Image that is run but not built here.
    Workload,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Build => "build",
            Role::Runtime => "runtime",
            Role::Workload => "workload",
        }
    }
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Not reported.
    Off,
    /// Reported; the exit code stays 0.
    Warning,
    /// Reported; the exit code is 1.
    Error,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

/// Rule of the linter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// The policy approves the image's registry and organisation.
    Registry,
    /// The policy approves the image for its role.
    ApprovedImage,
    /// The tag of a build stage has the precision that the policy requires.
    BuildTag,
    /// The tag of a runtime stage has the form that the policy requires.
    RuntimeTag,
    /// The version in the tag is within the image's bounds.
    Bounds,
    /// The policy lists the workload.
    Workload,
    /// The policy declares the mirror.
    Mirror,
    /// Exceptions are complete, not expired and used.
    Exception,
    /// Files agree with each other: one digest per base image, one Dockerfile per service.
    Consistency,
    /// A runtime stage follows the policy's template: user, labels, one form of health check.
    Hygiene,
    /// The text is a valid image reference.
    Reference,
    /// The image is known: each variable has a value.
    Unresolved,
    /// The file has the format that its name implies.
    Unreadable,
}

impl Rule {
    pub(crate) const ALL: [Rule; 13] = [
        Rule::Registry,
        Rule::ApprovedImage,
        Rule::BuildTag,
        Rule::RuntimeTag,
        Rule::Bounds,
        Rule::Workload,
        Rule::Mirror,
        Rule::Exception,
        Rule::Consistency,
        Rule::Hygiene,
        Rule::Reference,
        Rule::Unresolved,
        Rule::Unreadable,
    ];

    pub(crate) fn id(self) -> &'static str {
        match self {
            Rule::Registry => "registry",
            Rule::ApprovedImage => "approved-image",
            Rule::BuildTag => "build-tag",
            Rule::RuntimeTag => "runtime-tag",
            Rule::Bounds => "bounds",
            Rule::Workload => "workload",
            Rule::Mirror => "mirror",
            Rule::Exception => "exception",
            Rule::Consistency => "consistency",
            Rule::Hygiene => "hygiene",
            Rule::Reference => "reference",
            Rule::Unresolved => "unresolved",
            Rule::Unreadable => "unreadable",
        }
    }

    /// Returns the rule's page in Markdown.
    pub(crate) fn page(self) -> &'static str {
        match self {
            Rule::Registry => include_str!("../../../docs/rules/registry.md"),
            Rule::ApprovedImage => include_str!("../../../docs/rules/approved-image.md"),
            Rule::BuildTag => include_str!("../../../docs/rules/build-tag.md"),
            Rule::RuntimeTag => include_str!("../../../docs/rules/runtime-tag.md"),
            Rule::Bounds => include_str!("../../../docs/rules/bounds.md"),
            Rule::Workload => include_str!("../../../docs/rules/workload.md"),
            Rule::Mirror => include_str!("../../../docs/rules/mirror.md"),
            Rule::Exception => include_str!("../../../docs/rules/exception.md"),
            Rule::Consistency => include_str!("../../../docs/rules/consistency.md"),
            Rule::Hygiene => include_str!("../../../docs/rules/hygiene.md"),
            Rule::Reference => include_str!("../../../docs/rules/reference.md"),
            Rule::Unresolved => include_str!("../../../docs/rules/unresolved.md"),
            Rule::Unreadable => include_str!("../../../docs/rules/unreadable.md"),
        }
    }

    /// Returns the rule's requirement in one line: the first paragraph of its page.
    pub(crate) fn summary(self) -> &'static str {
        self.page()
            .lines()
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap_or_default()
    }

    pub(crate) fn from_id(id: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.id() == id)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id())
    }
}

/// Reason why a use has no image to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ImageError {
    /// A variable has no value, or its expression is invalid.
    Unresolved(String),
    /// The text is not a valid reference.
    Invalid(String),
    /// The text is a template.
    Template,
}

impl ImageError {
    pub(crate) fn reason(&self) -> &str {
        match self {
            ImageError::Unresolved(reason) | ImageError::Invalid(reason) => reason,
            ImageError::Template => "template",
        }
    }
}

/// Location in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Location {
    /// Line, from 1.
    pub(crate) line: usize,
    /// Column in characters, from 1.
    pub(crate) column: usize,
    /// Byte range in the text; empty if there is no text to show.
    pub(crate) span: Range<usize>,
}

/// Converts byte ranges of one text to locations.
pub(crate) struct Locations<'a> {
    text: &'a str,
    lines: Cow<'a, LineIndex>,
}

impl<'a> Locations<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Locations {
            text,
            lines: Cow::Owned(LineIndex::new(text)),
        }
    }

    /// Uses the line index of a parsed Dockerfile.
    pub(crate) fn of_dockerfile(parsed: &'a Dockerfile<'_>) -> Self {
        Locations {
            text: parsed.source,
            lines: Cow::Borrowed(&parsed.lines),
        }
    }

    pub(crate) fn of(&self, span: Range<usize>) -> Location {
        let (line, column) = self.lines.position(self.text, span.start);
        Location { line, column, span }
    }
}

/// Use of an image.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    /// Location of the reference.
    pub(crate) location: Location,
    /// Line of the instruction that contains the reference; line of the reference where there is none.
    pub(crate) line: usize,
    /// `workload` or a kind of reference in a Dockerfile: `from`, `copy-from`, …
    pub(crate) kind: &'static str,
    pub(crate) role: Role,
    /// Name of the stage, or its index.
    pub(crate) stage: Option<String>,
    pub(crate) raw: String,
    /// `None` if a variable has no value.
    pub(crate) expanded: Option<String>,
    pub(crate) image: Result<ImageReference, ImageError>,
    /// The text at the location is the reference itself, so that an edit can replace it.
    pub(crate) literal: bool,
    /// What sets the tag if the reference has none: the templates of a chart, kustomize.
    pub(crate) tag_set_by: Option<&'static str>,
    /// Variables in the reference, with the lines that set their values.
    pub(crate) variables: Vec<(String, usize)>,
}

/// Replacement of a byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    /// The edit needs no decision, so that `--fix` applies it.
    pub(crate) certain: bool,
}

/// Line of a message, shared where thousands of findings have the same.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Fixed(&'static str),
    Shared(Arc<str>),
    Own(Box<str>),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Fixed(line) => line,
            Text::Shared(line) => line,
            Text::Own(line) => line,
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self)
    }
}

impl From<&'static str> for Text {
    fn from(line: &'static str) -> Text {
        Text::Fixed(line)
    }
}

impl From<String> for Text {
    fn from(line: String) -> Text {
        Text::Own(line.into())
    }
}

impl From<Arc<str>> for Text {
    fn from(line: Arc<str>) -> Text {
        Text::Shared(line)
    }
}

/// Violation of a rule.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) level: Level,
    pub(crate) location: Location,
    pub(crate) message: Text,
    /// Lines that say what is allowed and what to do.
    pub(crate) help: Vec<Text>,
    /// Boxed, since most findings have none.
    pub(crate) edit: Option<Box<Edit>>,
    /// Index of the use that the finding is about, to match exceptions.
    pub(crate) use_index: Option<usize>,
}

/// File, or value in a file, that was not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) line: Option<usize>,
    pub(crate) reason: String,
    /// Whether the input is unreadable (exit code 3), rather than a template.
    pub(crate) unreadable: bool,
}

/// File with its image uses and findings.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    /// Path relative to the repository, with forward slashes; the given path if the file is outside.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) uses: Vec<Use>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) skipped: Vec<Skipped>,
    /// Comments `# lint-images: allow RULE: reason`.
    pub(crate) allowances: Vec<Allowance>,
    /// Dockerfiles that the file (a stack file) refers to: entry, path, location.
    pub(crate) dockerfiles: Vec<(String, String, Location)>,
    pub(crate) is_dockerfile: bool,
}

/// Exception in a comment of a file.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    pub(crate) location: Location,
    /// Line that the exception applies to.
    pub(crate) target: usize,
    pub(crate) rule: String,
    pub(crate) reason: String,
}
