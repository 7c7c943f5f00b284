//! What is found: uses of images, findings about them, edits.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use dockerfile::{Dockerfile, ImageReference, LineIndex};
use serde::{Deserialize, Serialize};

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// A stage that is only copied from, or an image that is.
    Build,
    /// A stage that can be the result.
    Runtime,
    /// An image that is run but not built here.
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

/// How much a finding weighs.
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

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rule {
    /// The image comes from a registry and organisation that the policy names.
    Registry,
    /// The image is one of those that the policy approves, for this role.
    ApprovedImage,
    /// A build stage's tag says as much of the version as the policy asks, and no more.
    BuildTag,
    /// A runtime stage's tag is the one that the policy asks.
    RuntimeTag,
    /// The version in the tag is within the image's bounds.
    Bounds,
    /// What is run without being built is named by the policy.
    Workload,
    /// A mirror stands for a registry only where the policy declares it.
    Mirror,
    /// Exceptions are complete, in date and used.
    Exception,
    /// Files agree with each other: one digest for a base, one Dockerfile for a service.
    Consistency,
    /// A runtime stage has what the policy's template asks: a user, labels, one form of health check.
    Hygiene,
    /// The text is a legal image reference.
    Reference,
    /// The image is known: each variable has a value.
    Unresolved,
    /// The file can be read as what its name says.
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

    /// Its page, the first line of which says what it asks.
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

    /// What it asks, one line: the first paragraph of its page.
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

/// Why there is no image to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoImage {
    /// A variable has no value, or the like.
    Unresolved(String),
    /// The text is no legal reference.
    Illegal(String),
}

impl NoImage {
    pub(crate) fn reason(&self) -> &str {
        match self {
            NoImage::Unresolved(reason) | NoImage::Illegal(reason) => reason,
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// 1-based.
    pub(crate) line: usize,
    /// 1-based, in characters.
    pub(crate) column: usize,
    /// Bytes of the text; empty where there is nothing to show.
    pub(crate) span: Range<usize>,
}

/// Turns spans into places, for one text.
pub(crate) struct Places<'a> {
    text: &'a str,
    lines: Cow<'a, LineIndex>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Places {
            text,
            lines: Cow::Owned(LineIndex::new(text)),
        }
    }

    /// Those of a Dockerfile, whose lines are known.
    pub(crate) fn of(parsed: &'a Dockerfile<'_>) -> Self {
        Places {
            text: parsed.source,
            lines: Cow::Borrowed(&parsed.lines),
        }
    }

    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let (line, column) = self.lines.position(self.text, span.start);
        Place { line, column, span }
    }
}

/// One use of an image.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    /// Where the reference itself is.
    pub(crate) place: Place,
    /// Line of the instruction that holds it; the reference's own line where there is none.
    pub(crate) line: usize,
    /// `from`, `copy-from`, …, `workload`.
    pub(crate) kind: &'static str,
    pub(crate) role: Role,
    /// Name of the stage, or its number.
    pub(crate) stage: Option<String>,
    pub(crate) raw: String,
    /// None where a variable has no value.
    pub(crate) expanded: Option<String>,
    pub(crate) image: Result<ImageReference, NoImage>,
    /// The text in the file is the reference itself, so that an edit can replace it.
    pub(crate) literal: bool,
}

/// A replacement of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) text: String,
    /// There is no other answer, so that `--fix` makes it.
    pub(crate) certain: bool,
}

/// A line that is shown. Thousands of findings say the same.
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

/// Something that a rule has against a file.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    pub(crate) level: Level,
    pub(crate) place: Place,
    pub(crate) message: Text,
    /// What is allowed and what to do, a line each.
    pub(crate) help: Vec<Text>,
    /// In a box: most findings have none.
    pub(crate) edit: Option<Box<Edit>>,
    /// Which of the file's uses it is about, so that an exception can be matched.
    pub(crate) about: Option<usize>,
}

/// A file, or a value in one, that can't be judged. Said, and no finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotJudged {
    pub(crate) line: Option<usize>,
    pub(crate) reason: String,
    /// Unreadable input, as opposed to a template: the exit code tells.
    pub(crate) unreadable: bool,
}

/// A file with all that was found in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    /// Relative to the repository, with forward slashes, where it is within.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) uses: Vec<Use>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) not_judged: Vec<NotJudged>,
    /// `# lint-images: allow RULE: reason` comments.
    pub(crate) allowances: Vec<Allowance>,
    /// Dockerfiles that it names (a stack file), with the name of the entry.
    pub(crate) dockerfiles: Vec<(String, String, Place)>,
    pub(crate) is_dockerfile: bool,
}

/// An exception written into a file.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    pub(crate) place: Place,
    /// The line that it is about.
    pub(crate) target: usize,
    pub(crate) rule: String,
    pub(crate) reason: String,
}
