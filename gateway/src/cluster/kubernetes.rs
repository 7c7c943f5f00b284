//! Client of the Kubernetes API: every call has a timeout, retries where they help, and a circuit breaker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Resource;
use kube::api::{GetParams, Patch, PatchParams, PostParams};
use kube::client::{Body, Client};
use kube::core::Status;
use kube::core::request::Request as RequestBuilder;
use wire::remediation_request::RemediationRequest;

use super::breakers::{Breakers, Scope, Verdict};
use super::pointer;
use super::retry::Policy;
use super::slim::{self, Unreadable};
use super::turns::Turns;
use super::{Cause, Error, Pointer, Requests, Writer};
use crate::cause::root_cause;
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;

/// The field manager.
const FIELD_MANAGER: &str = "gateway";
/// The API server itself rejects objects above 3 MiB.
const LARGEST_RESPONSE: usize = 8 << 20;
/// The resources of the Gateway's own objects in the API's messages.
const OWN: [&str; 2] = ["remediationrequests", "leases"];
/// Retry-After for clients when the API gives none.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The API of one cluster. Cheap to clone.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
    policy: Policy,
    breakers: Arc<Breakers>,
    turns: Arc<Turns>,
    /// The namespace of the pointers.
    namespace: String,
    writer: Writer,
}

/// A failed attempt.
struct Failed {
    error: Error,
    /// Whether a retry may help, and the server's Retry-After.
    again: Option<Option<Duration>>,
    /// What it says about the API.
    verdict: Verdict,
}

impl Kubernetes {
    /// Calls through `client`, which must not retry by itself; the pointers of incidents are in `namespace`,
    /// and counts are written as `writer`.
    #[must_use]
    pub fn new(
        client: Client,
        policy: Policy,
        breakers: Arc<Breakers>,
        namespace: String,
        writer: Writer,
    ) -> Self {
        Self {
            client,
            policy,
            breakers,
            turns: Arc::default(),
            namespace,
            writer,
        }
    }

    /// Makes a call about an object of `namespace` until it succeeds, is rejected, or the attempts are used up; `read`
    /// parses the response.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn call<T>(
        &self,
        namespace: &str,
        request: Request<Vec<u8>>,
        read: impl Fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, Error> {
        self.call_until(None, namespace, request, read).await
    }

    /// Like [`Kubernetes::call`], but begins no attempt after `deadline`.
    async fn call_until<T>(
        &self,
        deadline: Option<Instant>,
        namespace: &str,
        request: Request<Vec<u8>>,
        read: impl Fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Result<T, Error> {
        let mut attempt = 0;
        // The error of an attempt that may have been executed.
        let mut unknown = None;
        let scope = Scope {
            namespace: namespace.to_owned(),
            method: request.method().clone(),
        };
        loop {
            attempt += 1;
            let turn = self.turns.take(namespace).await;
            let grant = self.breakers.admit(&scope, Instant::now()).map_err(|wait| {
                unknown.take().unwrap_or_else(|| Error::Unavailable {
                    cause: Cause::CircuitOpen,
                    retry_after: wait,
                    detail: "the circuit breaker is open".to_owned(),
                })
            })?;
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(unknown.unwrap_or_else(late));
            }
            let result = self.try_once(request.clone()).await;
            let verdict = result
                .as_ref()
                .map_or_else(|failed| failed.verdict, |_| Verdict::Works);
            grant.done(verdict, Instant::now());
            drop(turn);
            let failed = match result {
                Ok(body) => return read(&body).map_err(unreadable),
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

    fn leases(&self) -> RequestBuilder {
        RequestBuilder::new(Lease::url_path(&(), Some(&self.namespace)))
    }

    /// Notes on a request that its sender says that the signal is resolved.
    ///
    /// # Errors
    /// [`Error`]; `Conflict` if the name belongs to another request now.
    pub async fn resolve(&self, record: &Record, at: Timestamp) -> Result<Record, Error> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // Without a version: whatever else is written at the same time, this is true.
        let patch = serde_json::json!({
            "metadata": { "uid": record.uid },
            "status": { "resolvedAt": at },
        });
        let call = requests_of(&record.namespace)
            .patch_subresource("status", &record.name, &parameters, &Patch::Merge(patch))
            .map_err(unbuildable)?;
        self.call(&record.namespace, call, |text| slim::record(text, &self.writer))
            .await
    }

    async fn try_once(&self, request: Request<Vec<u8>>) -> Result<Vec<u8>, Failed> {
        let limit = Duration::from_millis(self.policy.timeout_ms);
        match tokio::time::timeout(limit, self.exchange(request)).await {
            Ok(result) => result,
            // A webhook of one namespace may be what hangs.
            Err(_) => Err(Failed {
                verdict: Verdict::ScopeFails,
                ..Failed::hindered(Cause::Timeout, format!("no response within {limit:?}"))
            }),
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
                    verdict: Verdict::Works,
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
            verdict: Verdict::ApiFails,
        }
    }

    fn from_response(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        // Overloaded, the API responds in plain text, and a proxy in front of it in HTML.
        let parsed = serde_json::from_slice::<Status>(body);
        let is_status = parsed.is_ok();
        let response = parsed.unwrap_or_default();
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
                verdict: match (throttled, is_status) {
                    (true, _) => Verdict::Works,
                    // The API server is reached; an admission webhook of one namespace may fail.
                    (false, true) => Verdict::ScopeFails,
                    (false, false) => Verdict::ApiFails,
                },
            };
        }
        let mut causes = details.iter().flat_map(|details| &details.causes);
        let terminating = causes.any(|cause| cause.reason == "NamespaceTerminating");
        if status == StatusCode::CONFLICT && !response.is_already_exists() && !OWN.contains(&kind) {
            // Another object, such as a ResourceQuota, was changed at the same time.
            return Self {
                error: Error::Unavailable {
                    cause: Cause::Contended,
                    retry_after: retry_after.unwrap_or(DEFAULT_RETRY_AFTER),
                    detail,
                },
                again: Some(retry_after),
                verdict: Verdict::Works,
            };
        }
        let error = match status {
            StatusCode::CONFLICT if response.is_already_exists() => Error::AlreadyExists,
            StatusCode::CONFLICT => Error::Conflict,
            StatusCode::NOT_FOUND if kind == "namespaces" => Error::NoNamespace,
            StatusCode::NOT_FOUND if OWN.contains(&kind) => Error::NotFound,
            StatusCode::FORBIDDEN if terminating => Error::NoNamespace,
            _ => Error::Rejected {
                status: status.as_u16(),
                detail,
            },
        };
        Self {
            error,
            again: None,
            verdict: Verdict::Works,
        }
    }
}

/// The call waited for too long; what it was based on may be outdated.
fn late() -> Error {
    Error::Unavailable {
        cause: Cause::Contended,
        retry_after: DEFAULT_RETRY_AFTER,
        detail: "the call waited too long for its turn".to_owned(),
    }
}

fn unreadable(error: Unreadable) -> Error {
    Error::Rejected {
        status: 200,
        detail: error.to_string(),
    }
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

impl Requests for Kubernetes {
    async fn create(&self, request: &RemediationRequest, deadline: Instant) -> Result<Record, Error> {
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
        let body = serde_json::to_vec(request).map_err(unbuildable)?;
        let call = requests_of(namespace)
            .create(&parameters, body)
            .map_err(unbuildable)?;
        self.call_until(Some(deadline), namespace, call, |text| {
            slim::record(text, &self.writer)
        })
        .await
    }

    async fn pointer(&self, fingerprint: Fingerprint) -> Result<Option<Pointer>, Error> {
        let call = self
            .leases()
            .get(&pointer::name(fingerprint), &GetParams::default())
            .map_err(unbuildable)?;
        match self.call(&self.namespace, call, pointer::read).await {
            Ok(pointer) => Ok(Some(pointer)),
            Err(Error::NotFound | Error::NoNamespace) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn point(
        &self,
        fingerprint: Fingerprint,
        known: Option<&Pointer>,
        namespace: &str,
        name: &str,
    ) -> Result<Pointer, Error> {
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let lease = pointer::lease(
            fingerprint,
            known,
            &self.namespace,
            &format!("{namespace}/{name}"),
        );
        let body = serde_json::to_vec(&lease).map_err(unbuildable)?;
        let call = match known {
            None => self.leases().create(&parameters, body),
            Some(_) => self
                .leases()
                .replace(&pointer::name(fingerprint), &parameters, body),
        };
        let call = call.map_err(unbuildable)?;
        self.call(&self.namespace, call, pointer::read).await
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Record>, Error> {
        let call = requests_of(namespace)
            .get(name, &GetParams::default())
            .map_err(unbuildable)?;
        match self
            .call(namespace, call, |text| slim::record(text, &self.writer))
            .await
        {
            Ok(record) => Ok(Some(record)),
            Err(Error::NotFound | Error::NoNamespace) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn describe(&self, namespace: &str, name: &str) -> Result<Option<RemediationRequest>, Error> {
        let call = requests_of(namespace)
            .get(name, &GetParams::default())
            .map_err(unbuildable)?;
        match self.call(namespace, call, slim::parse).await {
            Ok(request) => Ok(Some(request)),
            Err(Error::NotFound | Error::NoNamespace) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn count(&self, record: &Record, own: i64, last_seen: Timestamp) -> Result<Record, Error> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // A merge patch preserves other writers' fields of the status; with the version in it, it is rejected after a
        // concurrent write, or when another object has the name.
        // A null removes an entry.
        let mut writers: serde_json::Map<String, serde_json::Value> = record
            .stale_writers
            .iter()
            .map(|name| (name.clone(), serde_json::Value::Null))
            .collect();
        let entry = serde_json::json!({ "count": own, "writtenAt": Timestamp::now() });
        writers.insert(self.writer.as_str().to_owned(), entry);
        let patch = serde_json::json!({
            "metadata": { "resourceVersion": record.resource_version },
            "status": { "deduplication": {
                "firstSeenAt": record.first_seen,
                "lastSeenAt": last_seen,
                "occurrenceCount": record.count - record.own + own,
                "writers": writers,
            } },
        });
        let call = requests_of(&record.namespace)
            .patch_subresource("status", &record.name, &parameters, &Patch::Merge(patch))
            .map_err(unbuildable)?;
        self.call(&record.namespace, call, |text| slim::record(text, &self.writer))
            .await
    }
}

#[cfg(test)]
mod tests;
