//! Responses to senders.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use service::http::Failure;
use utoipa::ToSchema;
use wire::problem::FieldError;

use crate::cluster;
use crate::domain::fingerprint::Fingerprint;
use crate::gateway::Taken;

/// The result of one signal of a request.
#[derive(Debug)]
pub enum Entry {
    /// It is invalid.
    Rejected(Vec<FieldError>),
    /// It is resolved; no request is created.
    Resolved(Fingerprint),
    /// It was processed.
    Taken(Taken),
}

/// The response to one accepted signal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Single {
    /// `created`, `deduplicated` or `resolved`.
    status: &'static str,
    message: String,
    /// Its fingerprint: 64 lowercase hex digits.
    fingerprint: String,
    /// Whether the request existed before.
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation_request_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remediation_request_namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

/// Occurrences of the signal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    /// Number of signals up to and including this one.
    count: i64,
    #[schema(value_type = String, format = DateTime)]
    first_occurrence: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_occurrence: Timestamp,
    /// `namespace/name`.
    remediation_request_ref: String,
}

/// The response to several signals.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Multi {
    /// One entry per alert, in order.
    results: Vec<Line>,
    summary: Summary,
}

/// One signal of several.
#[derive(Debug, Serialize, ToSchema)]
struct Line {
    /// `created`, `deduplicated`, `resolved`, `rejected` or `failed`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The number of signals by status.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Summary {
    total: usize,
    created: usize,
    deduplicated: usize,
    resolved: usize,
    rejected: usize,
    failed: usize,
}

/// 400 with every error.
#[must_use]
pub fn invalid(errors: Vec<FieldError>) -> Failure {
    let detail: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {}", error.field, error.message))
        .collect();
    Failure::invalid(detail.join("; "), errors)
}

/// The response to a webhook: that of a single signal for one alert, otherwise 207; 503 if the sender should send
/// all of it again.
///
/// # Errors
/// 400 without any valid alert, 503, 500.
pub fn webhook(mut entries: Vec<Entry>) -> Result<Response, Failure> {
    if entries.len() == 1
        && let Some(entry) = entries.pop()
    {
        return single(entry);
    }
    let passing = entries.iter().find_map(|entry| match entry {
        Entry::Taken(Taken {
            result: Err(error), ..
        }) if error.is_passing() => Some(error),
        _ => None,
    });
    if let Some(error) = passing {
        return Err(failure(error));
    }
    if entries.iter().all(|entry| matches!(entry, Entry::Rejected(_))) {
        let all = entries.into_iter().filter_map(|entry| match entry {
            Entry::Rejected(errors) => Some(errors),
            Entry::Resolved(_) | Entry::Taken(_) => None,
        });
        return Err(invalid(all.flatten().collect()));
    }
    let mut summary = Summary {
        total: entries.len(),
        ..Summary::default()
    };
    let results = entries
        .into_iter()
        .map(|entry| line(entry, &mut summary))
        .collect();
    Ok((StatusCode::MULTI_STATUS, Json(Multi { results, summary })).into_response())
}

/// The response to one signal.
///
/// # Errors
/// 400, 503, 500.
pub fn single(entry: Entry) -> Result<Response, Failure> {
    let (status, body) = match entry {
        Entry::Rejected(errors) => return Err(invalid(errors)),
        Entry::Resolved(fingerprint) => (StatusCode::ACCEPTED, resolved(fingerprint)),
        Entry::Taken(Taken { fingerprint, result }) => {
            let outcome = result.map_err(|error| failure(&error))?;
            let status = if outcome.duplicate {
                StatusCode::ACCEPTED
            } else {
                StatusCode::CREATED
            };
            let body = Single {
                status: if outcome.duplicate {
                    "deduplicated"
                } else {
                    "created"
                },
                message: message(outcome.duplicate, outcome.count),
                fingerprint: fingerprint.to_string(),
                duplicate: outcome.duplicate,
                metadata: Some(Metadata {
                    count: outcome.count,
                    first_occurrence: outcome.first_seen,
                    last_occurrence: outcome.last_seen,
                    remediation_request_ref: format!("{}/{}", outcome.namespace, outcome.name),
                }),
                remediation_request_name: Some(outcome.name),
                remediation_request_namespace: Some(outcome.namespace),
            };
            (status, body)
        }
    };
    Ok((status, Json(body)).into_response())
}

fn resolved(fingerprint: Fingerprint) -> Single {
    Single {
        status: "resolved",
        message: "the alert is resolved; no request is created".to_owned(),
        fingerprint: fingerprint.to_string(),
        duplicate: false,
        remediation_request_name: None,
        remediation_request_namespace: None,
        metadata: None,
    }
}

fn message(duplicate: bool, count: i64) -> String {
    if duplicate {
        format!("counted as occurrence {count} of an active RemediationRequest")
    } else {
        "a RemediationRequest was created".to_owned()
    }
}

fn line(entry: Entry, summary: &mut Summary) -> Line {
    match entry {
        Entry::Rejected(errors) => {
            summary.rejected += 1;
            let error: Vec<String> = errors
                .iter()
                .map(|error| format!("{}: {}", error.field, error.message))
                .collect();
            Line {
                status: "rejected",
                fingerprint: None,
                message: "the alert is not valid".to_owned(),
                error: Some(error.join("; ")),
            }
        }
        Entry::Resolved(fingerprint) => {
            summary.resolved += 1;
            let Single {
                status,
                message,
                fingerprint,
                ..
            } = resolved(fingerprint);
            Line {
                status,
                fingerprint: Some(fingerprint),
                message,
                error: None,
            }
        }
        Entry::Taken(Taken {
            fingerprint,
            result: Ok(outcome),
        }) => {
            let counter = if outcome.duplicate {
                &mut summary.deduplicated
            } else {
                &mut summary.created
            };
            *counter += 1;
            Line {
                status: if outcome.duplicate {
                    "deduplicated"
                } else {
                    "created"
                },
                fingerprint: Some(fingerprint.to_string()),
                message: message(outcome.duplicate, outcome.count),
                error: None,
            }
        }
        Entry::Taken(Taken {
            fingerprint,
            result: Err(error),
        }) => {
            summary.failed += 1;
            Line {
                status: "failed",
                fingerprint: Some(fingerprint.to_string()),
                message: "no RemediationRequest could be created".to_owned(),
                error: Some(public_message(&error)),
            }
        }
    }
}

/// 503 for transient errors, 500 for others.
pub(super) fn failure(error: &cluster::Error) -> Failure {
    match error {
        cluster::Error::Unavailable { retry_after, .. } => {
            let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
            Failure::unavailable(
                format!("{}; send it again, repeats are harmless", public_message(error)),
                seconds.max(1),
            )
        }
        other => Failure::internal(other),
    }
}

/// The public message of an error: the API's own message may contain internal names, and is in the log.
fn public_message(error: &cluster::Error) -> String {
    let kind = error.kind();
    match error {
        cluster::Error::Unavailable { .. } => format!("the Kubernetes API is unavailable ({kind})"),
        _ => format!("the Kubernetes API rejected the RemediationRequest ({kind})"),
    }
}
