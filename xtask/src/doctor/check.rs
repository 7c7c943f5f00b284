//! One requirement: what was found, what is wanted, and what to do.

use serde::Serialize;

use crate::run_folder::ProviderName;

/// Whether a requirement is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is.
    Fine,
    /// Not quite: a run may be slow or fail.
    Warning,
    /// No: the providers that need it can't run here.
    Missing,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What it is about.
    pub(crate) name: &'static str,
    /// What was measured.
    pub(crate) found: String,
    /// The threshold.
    pub(crate) wanted: String,
    /// Whether it is met.
    pub(crate) status: Status,
    /// Who needs it.
    pub(crate) needed_for: Vec<ProviderName>,
    /// What to do about it.
    pub(crate) fix: Option<Fix>,
}

/// What to do about a requirement that is not met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fix {
    /// The exact command, or what a person has to decide.
    pub(crate) text: String,
    /// What `--fix` does by itself.
    #[serde(rename = "by_itself", serialize_with = "whether")]
    pub(crate) remedy: Option<Remedy>,
}

/// What can be done without asking: it changes nothing that somebody chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Run this command.
    Run(Vec<String>),
    /// Fetch PostgreSQL into the user's cache.
    FetchPostgresql,
    /// Fetch Redis into the user's cache.
    FetchRedis,
    /// Collect garbage.
    Gc,
}

fn whether<S: serde::Serializer>(remedy: &Option<Remedy>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(remedy.is_some())
}

impl Check {
    /// A requirement that is met.
    pub(crate) fn fine(
        name: &'static str,
        needed_for: &[ProviderName],
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self {
            name,
            found: found.into(),
            wanted: wanted.into(),
            status: Status::Fine,
            needed_for: needed_for.to_vec(),
            fix: None,
        }
    }

    /// The same requirement not met, with what to do.
    pub(crate) fn or(self, status: Status, fix: impl Into<String>) -> Self {
        Self {
            status,
            fix: Some(Fix {
                text: fix.into(),
                remedy: None,
            }),
            ..self
        }
    }

    /// The same with what `--fix` does.
    pub(crate) fn by_itself(mut self, remedy: Remedy) -> Self {
        if let Some(fix) = &mut self.fix {
            fix.remedy = Some(remedy);
        }
        self
    }
}
