//! A requirement: the value found, the threshold, and the fix.

use serde::Serialize;

use crate::run_folder::ProviderName;

/// Whether a requirement is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Met.
    Fine,
    /// Partly met: a run may be slow or fail.
    Warning,
    /// Not met: the providers that need it can't run here.
    Missing,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// Name of the requirement.
    pub(crate) name: &'static str,
    /// Value found.
    pub(crate) found: String,
    /// Threshold.
    pub(crate) wanted: String,
    /// Whether it is met.
    pub(crate) status: Status,
    /// Providers that need it.
    pub(crate) needed_for: Vec<ProviderName>,
    /// Fix, unless it is met.
    pub(crate) fix: Option<Fix>,
}

/// Fix of an unmet requirement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fix {
    /// Exact command, or instructions.
    pub(crate) text: String,
    /// Action of `--fix`; in JSON only whether there is one.
    #[serde(rename = "automatic", serialize_with = "is_some")]
    pub(crate) remedy: Option<Remedy>,
}

/// Automatic fix: it changes nothing that a user has chosen.
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

fn is_some<S: serde::Serializer>(remedy: &Option<Remedy>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(remedy.is_some())
}

impl Check {
    /// Returns a met requirement.
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

    /// Marks the requirement as unmet and adds a fix.
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

    /// Adds the action of `--fix`.
    pub(crate) fn automatic(mut self, remedy: Remedy) -> Self {
        if let Some(fix) = &mut self.fix {
            fix.remedy = Some(remedy);
        }
        self
    }
}
