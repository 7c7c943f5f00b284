//! Responses to senders.

use axum::Json;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use service::http::Failure;
use utoipa::ToSchema;
use wire::problem::FieldError;

use super::entry::{Counted, Entry, Left, MAX_DETAILED, Processed};
use crate::domain::fingerprint::Fingerprint;

/// The response to one accepted signal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Single {
    /// `created`, `deduplicated`, `suppressed`, `resolved` or `ignored`.
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
    /// One entry per alert, in order. After 32 rejected alerts, the further ones have a status only.
    #[serde(serialize_with = "lines")]
    #[schema(value_type = Vec<Line>)]
    results: Vec<Entry>,
    summary: Summary,
}

/// One signal of several.
#[derive(Debug, Serialize, ToSchema)]
struct Line {
    /// `created`, `deduplicated`, `suppressed`, `resolved`, `ignored`, `rejected` or
    /// `failed`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Lines are made one after another: all of them would take many times the memory of their text.
fn lines<S: Serializer>(entries: &[Entry], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(entries.iter().map(line))
}

/// The number of signals by status.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Summary {
    total: usize,
    created: usize,
    deduplicated: usize,
    resolved: usize,
    #[serde(skip_serializing_if = "is_none")]
    ignored: usize,
    #[serde(skip_serializing_if = "is_none")]
    suppressed: usize,
    rejected: usize,
    failed: usize,
}

/// 400 with the errors.
#[must_use]
pub fn invalid(errors: Vec<FieldError>) -> Failure {
    let detail: Vec<String> = errors.iter().map(described).collect();
    Failure::invalid(detail.join("; "), errors)
}

/// The response to a webhook: that of a single signal for one alert, otherwise 207.
///
/// # Errors
/// 400 without any valid alert.
pub fn webhook(mut entries: Vec<Entry>) -> Result<Response, Failure> {
    if entries.len() == 1
        && let Some(entry) = entries.pop()
    {
        return single(entry);
    }
    if entries.iter().all(|entry| matches!(entry, Entry::Rejected(_))) {
        let count = entries.len();
        let all = entries.into_iter().filter_map(|entry| match entry {
            Entry::Rejected(errors) => errors,
            Entry::Left(..) | Entry::Taken(_) => None,
        });
        let mut errors: Vec<FieldError> = all.flat_map(|errors| *errors).collect();
        if count > MAX_DETAILED {
            errors.push(FieldError {
                field: "alerts".to_owned(),
                message: format!("{} further alerts are not valid, either", count - MAX_DETAILED),
            });
        }
        return Err(invalid(errors));
    }
    Ok(multi(entries))
}

/// The response to one signal.
///
/// # Errors
/// 400.
pub fn single(entry: Entry) -> Result<Response, Failure> {
    let (status, body) = match entry {
        Entry::Rejected(errors) => return Err(invalid(errors.map_or_else(Vec::new, |errors| *errors))),
        Entry::Left(why, fingerprint) => (StatusCode::ACCEPTED, left(why, *fingerprint)),
        Entry::Taken(processed) => match *processed {
            Processed {
                fingerprint,
                result: Ok(counted),
            } => accepted(fingerprint, counted),
            failed => return Ok(multi(vec![Entry::Taken(Box::new(failed))])),
        },
    };
    Ok((status, Json(body)).into_response())
}

/// 207: also for a signal that fails for good, which the sender must not send again.
fn multi(results: Vec<Entry>) -> Response {
    let summary = Summary::of(&results);
    let size = |entry: &Entry| match entry {
        Entry::Rejected(None) => 24,
        _ => 192,
    };
    // A body that grows takes up to three times its size.
    let mut body = Vec::with_capacity(256 + results.iter().map(size).sum::<usize>());
    match serde_json::to_writer(&mut body, &Multi { results, summary }) {
        Ok(()) => {
            let json = HeaderValue::from_static("application/json");
            (StatusCode::MULTI_STATUS, [(CONTENT_TYPE, json)], body).into_response()
        }
        Err(error) => Failure::internal(&error).into_response(),
    }
}

fn accepted(fingerprint: Fingerprint, counted: Counted) -> (StatusCode, Single) {
    let code = if counted.duplicate {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    let mut body = Single {
        status: counted.status(),
        message: counted.message(),
        fingerprint: fingerprint.to_string(),
        duplicate: counted.duplicate,
        metadata: None,
        remediation_request_name: None,
        remediation_request_namespace: None,
    };
    if let Some(outcome) = counted.details {
        body.metadata = Some(Metadata {
            count: counted.count,
            first_occurrence: outcome.first_seen,
            last_occurrence: outcome.last_seen,
            remediation_request_ref: format!("{}/{}", outcome.namespace, outcome.name),
        });
        body.remediation_request_name = Some(outcome.name);
        body.remediation_request_namespace = Some(outcome.namespace);
    }
    (code, body)
}

fn left(why: Left, fingerprint: Fingerprint) -> Single {
    Single {
        status: why.status(),
        message: why.message().to_owned(),
        fingerprint: fingerprint.to_string(),
        duplicate: false,
        remediation_request_name: None,
        remediation_request_namespace: None,
        metadata: None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Summary {
    fn of(entries: &[Entry]) -> Self {
        let mut summary = Self {
            total: entries.len(),
            ..Self::default()
        };
        for entry in entries {
            *match entry {
                Entry::Rejected(_) => &mut summary.rejected,
                Entry::Left(Left::Resolved, _) => &mut summary.resolved,
                Entry::Left(Left::Ignored, _) => &mut summary.ignored,
                Entry::Taken(processed) => match &processed.result {
                    Ok(counted) if counted.suppressed => &mut summary.suppressed,
                    Ok(counted) if counted.duplicate => &mut summary.deduplicated,
                    Ok(_) => &mut summary.created,
                    Err(_) => &mut summary.failed,
                },
            } += 1;
        }
        summary
    }
}

fn line(entry: &Entry) -> Line {
    let (status, fingerprint, message, error) = match entry {
        Entry::Rejected(None) => ("rejected", None, None, None),
        Entry::Rejected(Some(errors)) => {
            let errors: Vec<String> = errors.iter().map(described).collect();
            let message = "the alert is not valid".to_owned();
            ("rejected", None, Some(message), Some(errors.join("; ")))
        }
        Entry::Left(why, fingerprint) => {
            let message = Some(why.message().to_owned());
            (why.status(), Some(**fingerprint), message, None)
        }
        Entry::Taken(processed) => {
            let (status, message, error) = match &processed.result {
                Ok(counted) => (counted.status(), Some(counted.message()), None),
                Err(failed) => ("failed", None, Some(rejected(failed.kind))),
            };
            (status, Some(processed.fingerprint), message, error)
        }
    };
    Line {
        status,
        fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
        message,
        error,
    }
}

fn described(error: &FieldError) -> String {
    format!("{}: {}", error.field, error.message)
}

/// 503 if the sender should send all of it again, because a signal failed for a transient reason.
#[must_use]
pub fn unavailable(entries: &[Entry]) -> Option<Failure> {
    let (kind, retry_after) = entries.iter().find_map(Entry::retry_after)?;
    let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
    let detail = format!("the Kubernetes API is unavailable ({kind}); send it again, repeats are harmless");
    Some(Failure::unavailable(detail, seconds.max(1)))
}

fn rejected(kind: &str) -> String {
    format!("the Kubernetes API rejected the RemediationRequest ({kind})")
}
