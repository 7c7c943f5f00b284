//! Client of the Kubernetes API: every call has a timeout, retries where they help, and a circuit breaker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::Resource;
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::client::{Body, Client};
use kube::core::Status;
use kube::core::request::Request as RequestBuilder;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use wire::remediation_request::{Deduplication, RemediationRequest};

use super::breaker::Breaker;
use super::retry::Policy;
use super::slim::SlimRequest;
use super::{Cause, Error, Requests};
use crate::cause::root_cause;
use crate::domain::index::Record;

/// The field manager.
const FIELD_MANAGER: &str = "gateway";
/// The API server itself rejects objects above 3 MiB.
const LARGEST_RESPONSE: usize = 8 << 20;
/// Maximum concurrent calls, each on its own connection: more would queue in the API server, where queueing counts as
const CALLS_AT_ONCE: usize = 64;
/// Retry-After for clients when the API gives none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The API of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    policy: Policy,
    breaker: Arc<Breaker>,
    turns: Arc<Semaphore>,
}

/// A failed attempt.
struct Failed {
    error: Error,
    /// Whether a retry may help, and the server's Retry-After.
    again: Option<Option<Duration>>,
    /// Whether the API itself worked.
    api_works: bool,
}

impl Kubernetes {
    /// Calls through `client`, which must not retry by itself.
    #[must_use]
    pub fn new(client: Client, policy: Policy, breaker: Arc<Breaker>) -> Self {
        Self {
            client,
            policy,
            breaker,
            turns: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
        }
    }

    /// Makes a call until it succeeds, is rejected, or the attempts are used up.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call<T: DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, Error> {
        let mut attempt = 0;
        // The error of an attempt that may have been executed.
        let mut unknown = None;
        loop {
            attempt += 1;
            let permit = self.breaker.admit(Instant::now()).map_err(|wait| {
                unknown.take().unwrap_or_else(|| Error::Unavailable {
                    cause: Cause::CircuitOpen,
                    retry_after: wait,
                    detail: "the circuit breaker is open".to_owned(),
                })
            })?;
            let result = self.try_once(request.clone()).await;
            let api_works = result.as_ref().map_or_else(|failed| failed.api_works, |_| true);
            permit.done(api_works, Instant::now());
            let failed = match result {
                Ok(body) => return parse(&body),
                Err(failed) => failed,
            };
            let delay = failed
                .again
                .and_then(|retry_after| self.policy.delay(attempt, retry_after, fastrand::f64()));
            if failed.error.is_unknown() {
                unknown = Some(failed.error.clone());
            }
            let Some(delay) = delay else {
                return Err(match failed.error {
                    // Whether an earlier attempt succeeded is still unknown.
                    Error::Unavailable { .. } | Error::Rejected { .. } => unknown.unwrap_or(failed.error),
                    error => error,
                });
            };
            tracing::debug!(error = %failed.error, attempt, ?delay, "retrying a call of the Kubernetes API");
            tokio::time::sleep(delay).await;
        }
    }

    async fn try_once(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failed> {
        // The semaphore is never closed.
        let _turn = self.turns.acquire().await;
        let limit = Duration::from_millis(self.policy.timeout_ms);
        match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(Failed::hindered(
                Cause::Timeout,
                format!("no response within {limit:?}"),
            )),
        }
    }

    async fn exchange(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failed> {
        let response = self
            .client
            .send(request.map(Body::from))
            .await
            .map_err(|error| match error {
                kube::Error::Auth(_) | kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => Failed {
                    error: Error::Rejected {
                        status: 0,
                        detail: error.to_string(),
                    },
                    again: None,
                    api_works: true,
                },
                other => Failed::hindered(Cause::Unreachable, root_cause(&other)),
            })?;
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(response.into_body(), LARGEST_RESPONSE)
            .collect()
            .await
            .map_err(|error| Failed::hindered(Cause::Unreachable, format!("incomplete response: {error}")))?
            .to_bytes();
        if status.is_success() {
            return Ok(body.to_vec());
        }
        Err(Failed::from_response(
            status,
            retry_after.map(Duration::from_secs),
            &body,
        ))
    }
}

impl Failed {
    fn hindered(cause: Cause, detail: String) -> Self {
        Self {
            error: Error::Unavailable {
                cause,
                retry_after: DEFAULT_RETRY_AFTER,
                detail,
            },
            again: Some(None),
            api_works: false,
        }
    }

    fn from_response(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        // Overloaded, the API responds in plain text, and a proxy in front of it in HTML.
        let response: Status = serde_json::from_slice(body).unwrap_or_default();
        let details = response.details.as_ref();
        let seconds = details.map_or(0, |details| details.retry_after_seconds);
        let retry_after = retry_after.or_else(|| (seconds > 0).then(|| Duration::from_secs(seconds.into())));
        let kind = details.map_or("", |details| details.kind.as_str());
        let detail = format!("{status} {}: {}", response.reason, response.message);
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let throttled = status == StatusCode::TOO_MANY_REQUESTS;
            let cause = if throttled {
                Cause::Throttled
            } else {
                Cause::Failing
            };
            return Self {
                error: Error::Unavailable {
                    cause,
                    retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
                    detail,
                },
                again: Some(retry_after),
                api_works: throttled,
            };
        }
        let mut causes = details.iter().flat_map(|details| &details.causes);
        let terminating = causes.any(|cause| cause.reason == "NamespaceTerminating");
        let error = match status {
            StatusCode::CONFLICT if response.is_already_exists() => Error::AlreadyExists,
            StatusCode::CONFLICT => Error::Conflict,
            StatusCode::NOT_FOUND if kind == "namespaces" => Error::NoNamespace,
            StatusCode::NOT_FOUND if kind == "remediationrequests" => Error::NotFound,
            StatusCode::FORBIDDEN if terminating => Error::NoNamespace,
            _ => Error::Rejected {
                status: status.as_u16(),
                detail,
            },
        };
        Self {
            error,
            again: None,
            api_works: true,
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Rejected {
        status: 200,
        detail: format!("unexpected form of the response: {error}"),
    })
}

fn requests_of(namespace: &str) -> RequestBuilder {
    RequestBuilder::new(RemediationRequest::url_path(&(), Some(namespace)))
}

fn unbuildable(error: impl std::fmt::Display) -> Error {
    Error::Rejected {
        status: 0,
        detail: format!("cannot build the call: {error}"),
    }
}

fn to_record(request: SlimRequest) -> Result<Record, Error> {
    request.into_record().ok_or_else(|| Error::Rejected {
        status: 200,
        detail: "the object in the response has no fingerprint, uid or version".to_owned(),
    })
}

impl Requests for Kubernetes {
    async fn create(&self, request: &RemediationRequest) -> Result<Record, Error> {
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
        let body = serde_json::to_vec(request).map_err(unbuildable)?;
        let call = requests_of(namespace)
            .create(&parameters, body)
            .map_err(unbuildable)?;
        to_record(self.call(call).await?)
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Record>, Error> {
        let call = requests_of(namespace)
            .get(name, &GetParams::default())
            .map_err(unbuildable)?;
        match self.call(call).await {
            Ok(request) => to_record(request).map(Some),
            Err(Error::NotFound | Error::NoNamespace) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn describe(&self, namespace: &str, name: &str) -> Result<Option<RemediationRequest>, Error> {
        let call = requests_of(namespace)
            .get(name, &GetParams::default())
            .map_err(unbuildable)?;
        match self.call(call).await {
            Ok(request) => Ok(Some(request)),
            Err(Error::NotFound | Error::NoNamespace) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn count(&self, record: &Record, count: &Deduplication) -> Result<Record, Error> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // A merge patch preserves other writers' fields of the status; with the version in it, it is rejected after a
        // concurrent write.
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": record.resource_version, "uid": record.uid },
            "status": { "deduplication": count },
        });
        let call = requests_of(&record.namespace)
            .patch_subresource("status", &record.name, &parameters, &Patch::Merge(patch))
            .map_err(unbuildable)?;
        to_record(self.call(call).await?)
    }
}
