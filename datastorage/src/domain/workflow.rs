//! The catalogue of remediation workflows: versions, and their mutable fields.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::event::Hash;
use super::fields::{Fields, Invalid, Reason, shown};
use super::members::Members;

/// Whether a version is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowStatus {
    /// It is offered.
    Active,
    /// It still works; a newer one should be used.
    Deprecated,
    /// It must not run.
    Disabled,
}

impl WorkflowStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Active, Self::Deprecated, Self::Disabled];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Disabled => "disabled",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Labels of a workflow, such as `signal_type: OOMKilled`; `*` matches every value in a search.
pub(crate) type Labels = BTreeMap<String, String>;

const MAX_LABELS: usize = 50;
pub(crate) const MAX_CONTENT_BYTES: usize = 1024 * 1024;

/// A new version of a workflow.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(as = NewWorkflowRequest)]
pub(crate) struct NewWorkflow {
    /// Common to all versions.
    #[schema(min_length = 1, max_length = 255)]
    pub(crate) workflow_name: String,
    /// Unique within the workflow.
    #[schema(min_length = 1, max_length = 50)]
    pub(crate) version: String,
    /// A title for people.
    #[schema(min_length = 1, max_length = 255)]
    pub(crate) name: String,
    /// Purpose and use.
    #[schema(min_length = 1, max_length = 10_000)]
    pub(crate) description: String,
    /// The workflow itself, in any language; at most 1 MiB.
    #[schema(min_length = 1, max_length = 1_048_576)]
    pub(crate) content: String,
    /// At most 50 labels; the value `*` matches every searched value.
    pub(crate) labels: Labels,
}

impl NewWorkflow {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let workflow = Self {
            workflow_name: fields.required_text("workflow_name", 255),
            version: fields.required_text("version", 50),
            name: fields.required_text("name", 255),
            description: fields.required_text("description", 10_000),
            content: fields.required_text("content", MAX_CONTENT_BYTES),
            labels: take_labels(&mut fields, "labels"),
        };
        if workflow.content.len() > MAX_CONTENT_BYTES {
            let message = format!(
                "has {} bytes; expected at most {MAX_CONTENT_BYTES}",
                workflow.content.len()
            );
            fields.reject("content", Reason::Length, message);
        }
        fields.finish()?;
        Ok(workflow)
    }

    pub(crate) fn content_hash(&self) -> Hash {
        Sha256::digest(self.content.as_bytes()).into()
    }
}

/// The mutable fields of a version: description and status.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(as = PatchRequest)]
pub(crate) struct WorkflowPatch {
    /// A title for people.
    #[schema(max_length = 255)]
    pub(crate) name: Option<String>,
    /// Purpose.
    #[schema(max_length = 10_000)]
    pub(crate) description: Option<String>,
    /// Status.
    pub(crate) status: Option<WorkflowStatus>,
}

impl WorkflowPatch {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let patch = Self {
            name: fields.optional_text("name", 255),
            description: fields.optional_text("description", 10_000),
            status: fields.optional_choice("status", &WorkflowStatus::ALL, WorkflowStatus::as_str),
        };
        for fixed in [
            "workflow_id",
            "workflow_name",
            "version",
            "content",
            "content_hash",
            "labels",
        ] {
            if fields.take(fixed).is_some() {
                fields.reject(
                    fixed,
                    Reason::Unknown,
                    "cannot change in a version; create a new version",
                );
            }
        }
        fields.finish()?;
        if patch
            == (Self {
                name: None,
                description: None,
                status: None,
            })
        {
            let message = "changes nothing; send name, description or status";
            return Err(vec![Invalid::new("body", Reason::Required, message)]);
        }
        Ok(patch)
    }
}

/// Why a version must not run.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(as = DisableRequest)]
pub(crate) struct Disabling {
    /// For readers of the catalogue.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) reason: String,
}

impl Disabling {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let disabling = Self {
            reason: fields.required_text("reason", 1000),
        };
        fields.finish()?;
        Ok(disabling)
    }
}

/// A search for workflows.
#[derive(Clone, Debug, PartialEq, ToSchema)]
#[schema(as = SearchRequest)]
pub(crate) struct WorkflowSearch {
    /// The labels of the incident: at least one.
    pub(crate) labels: Labels,
    /// Maximum number of results.
    #[schema(value_type = Option<i32>, minimum = 1, maximum = 100, default = 10)]
    pub(crate) limit: i64,
}

impl WorkflowSearch {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let search = Self {
            labels: take_labels(&mut fields, "labels"),
            limit: fields.optional_integer("limit", 1, 100).unwrap_or(10).into(),
        };
        fields.finish()?;
        if search.labels.is_empty() {
            return Err(vec![Invalid::new(
                "labels",
                Reason::Required,
                "is required; one label or more",
            )]);
        }
        Ok(search)
    }
}

fn take_labels(fields: &mut Fields<'_>, field: &str) -> Labels {
    let Some(value) = fields.required_object(field) else {
        return Labels::new();
    };
    let Members { members, count } = match serde_json::from_str::<Members<'_, MAX_LABELS>>(value.get()) {
        Ok(members) => members,
        Err(error) => {
            fields.reject(
                field,
                Reason::Format,
                format!("is not an object of labels: {error}"),
            );
            return Labels::new();
        }
    };
    if count > MAX_LABELS {
        let message = format!("has {count} labels; expected at most {MAX_LABELS}");
        fields.reject(field, Reason::Length, message);
        return Labels::new();
    }
    let mut labels = Labels::new();
    for (key, value) in members {
        match serde_json::from_str::<String>(value.get()) {
            Ok(value)
                if !key.is_empty()
                    && key.chars().count() <= 100
                    && value.chars().count() <= 255
                    && !key.contains('\0')
                    && !value.contains('\0') =>
            {
                labels.insert(key.into_owned(), value);
            }
            _ => {
                let message = format!(
                    "{} must be a key of 1 to 100 characters and a string of at most 255",
                    shown(&key)
                );
                fields.reject(field, Reason::Type, message);
            }
        }
    }
    labels
}

/// The score of a workflow's labels for a search: the ratio of the searched labels that it has with that value; a
/// `*` of the workflow counts half. `None` if one of its labels contradicts the search: it is for another problem.
pub(crate) fn score(searched: &Labels, labels: &Labels) -> Option<f64> {
    let mut points = 0.0;
    for (key, wanted) in searched {
        match labels.get(key).map(String::as_str) {
            None => {}
            Some("*") => points += 0.5,
            Some(value) if value == wanted => points += 1.0,
            Some(_) => return None,
        }
    }
    (points > 0.0).then(|| points / searched.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn reads_a_complete_version_or_reports_every_error() {
        let good = json!({"workflow_name": "restart", "version": "1.0.0", "name": "Restart", "description": "d",
            "content": "steps: []", "labels": {"signal_type": "OOMKilled"}});
        assert_eq!(
            NewWorkflow::read(good.to_string().as_bytes()).unwrap().labels,
            labels(&[("signal_type", "OOMKilled")])
        );
        let bad = json!({"version": 1, "labels": {"a": 5}, "colour": "red"});
        let fields: Vec<String> = NewWorkflow::read(bad.to_string().as_bytes())
            .unwrap_err()
            .into_iter()
            .map(|invalid| invalid.field)
            .collect();
        assert_eq!(
            fields,
            [
                "workflow_name",
                "version",
                "name",
                "description",
                "content",
                "labels",
                "colour"
            ]
        );
    }

    #[test]
    fn patch_cannot_change_immutable_fields() {
        let fields = |value: serde_json::Value| -> Vec<String> {
            WorkflowPatch::read(value.to_string().as_bytes())
                .unwrap_err()
                .into_iter()
                .map(|invalid| invalid.field)
                .collect()
        };
        assert_eq!(fields(json!({"content": "x", "description": "y"})), ["content"]);
        assert_eq!(fields(json!({})), ["body"]);
        assert!(WorkflowPatch::read(br#"{"status": "deprecated"}"#).is_ok());
    }

    #[test]
    fn search_scores_matches_and_excludes_contradictions() {
        let searched = labels(&[("signal_type", "OOMKilled"), ("severity", "critical")]);
        assert_eq!(score(&searched, &searched), Some(1.0));
        assert_eq!(
            score(
                &searched,
                &labels(&[("signal_type", "OOMKilled"), ("severity", "*")])
            ),
            Some(0.75)
        );
        assert_eq!(
            score(&searched, &labels(&[("signal_type", "OOMKilled")])),
            Some(0.5)
        );
        assert_eq!(
            score(
                &searched,
                &labels(&[("signal_type", "OOMKilled"), ("severity", "low")])
            ),
            None
        );
        assert_eq!(score(&searched, &labels(&[("other", "x")])), None);
    }
}
