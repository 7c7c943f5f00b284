//! Who calls, and whether they may: a bearer token, reviewed by the Kubernetes API, and the right to do something with
//! the service `auth.service` in `auth.namespace` (`get` for reading, `create` for writing, `update` for holds and the
//! catalogue's changes).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::http::{HeaderMap, Method, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use service::http::Failure;
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::domain::event::Caller;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    Create,
    Update,
}

impl Verb {
    /// What a request to a route does. Verifying and searching read, though their question is a body.
    pub(crate) fn of(method: &Method, route: &str) -> Self {
        match (method, route) {
            (&Method::GET | &Method::HEAD, _) => Self::Get,
            (_, "/api/v1/audit/verify-chain" | "/api/v1/workflows/search") => Self::Get,
            (_, route) if route.starts_with("/api/v1/audit/legal-hold") => Self::Update,
            (&Method::POST, _) => Self::Create,
            _ => Self::Update,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
        }
    }
}

/// A verdict that is believed for a while.
#[derive(Clone, Debug)]
enum Verdict {
    Allowed(Caller),
    Forbidden(String),
    Unknown,
}

type Cache = HashMap<([u8; 32], Verb), (Instant, Verdict)>;

/// Asks the Kubernetes API; cheap to clone.
#[derive(Clone)]
pub(crate) struct Authenticator {
    client: kube::Client,
    audiences: Option<Vec<String>>,
    namespace: String,
    service: String,
    believed: Duration,
    cache: Arc<Mutex<Cache>>,
}

/// Verdicts that are kept; a flood of made-up tokens must not fill the memory.
const MOST_VERDICTS: usize = 10_000;
/// How long the Kubernetes API may take.
const TIMEOUT: Duration = Duration::from_secs(5);

impl Authenticator {
    /// Prepares the client; it asks nothing yet.
    pub(crate) async fn new(config: &Config) -> anyhow::Result<Self> {
        let auth = &config.auth;
        let cluster = match &auth.kubeconfig {
            Some(path) => {
                let file = kube::config::Kubeconfig::read_from(path)
                    .with_context(|| format!("auth.kubeconfig {} can't be read", path.display()))?;
                kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default())
                    .await?
            }
            None => kube::Config::incluster().context(
                "callers are to be authenticated, and this is no pod: set auth.kubeconfig, or auth.enabled",
            )?,
        };
        Ok(Self {
            client: kube::Client::try_from(cluster)?,
            audiences: (!auth.audiences.is_empty()).then(|| auth.audiences.clone()),
            namespace: auth.namespace.clone(),
            service: auth.service.clone(),
            believed: Duration::from_secs(auth.cache_seconds),
            cache: Arc::default(),
        })
    }

    /// The caller, if it may; else the answer that it gets.
    pub(crate) async fn check(&self, headers: &HeaderMap, verb: Verb) -> Result<Caller, Failure> {
        let token = bearer(headers).ok_or_else(|| unauthenticated("send a bearer token in Authorization"))?;
        // Tokens themselves stay nowhere.
        let key = (<[u8; 32]>::from(Sha256::digest(token.as_bytes())), verb);
        let verdict = match self.believed_verdict(&key) {
            Some(verdict) => verdict,
            None => {
                let asked = tokio::time::timeout(TIMEOUT, self.ask(token, verb)).await;
                let verdict = asked
                    .map_err(|_| unavailable("no answer in time"))?
                    .map_err(unavailable)?;
                self.believe(key, verdict.clone());
                verdict
            }
        };
        match verdict {
            Verdict::Allowed(caller) => Ok(caller),
            Verdict::Unknown => Err(unauthenticated("the token is not valid")),
            Verdict::Forbidden(name) => Err(Failure::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "Forbidden",
                format!(
                    "{name} may not {} services/{} in {}; bind a role that allows it",
                    verb.as_str(),
                    self.service,
                    self.namespace
                ),
            )),
        }
    }

    fn believed_verdict(&self, key: &([u8; 32], Verb)) -> Option<Verdict> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache
            .get(key)
            .filter(|(until, _)| Instant::now() < *until)
            .map(|(_, verdict)| verdict.clone())
    }

    fn believe(&self, key: ([u8; 32], Verb), verdict: Verdict) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if cache.len() >= MOST_VERDICTS {
            cache.retain(|_, (until, _)| now < *until);
        }
        if cache.len() < MOST_VERDICTS {
            cache.insert(key, (now + self.believed, verdict));
        }
    }

    async fn ask(&self, token: &str, verb: Verb) -> Result<Verdict, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: self.audiences.clone(),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews
            .create(&PostParams::default(), &review)
            .await?
            .status
            .unwrap_or_default();
        let user = match (status.authenticated, status.user) {
            (Some(true), Some(user)) => user,
            _ => return Ok(Verdict::Unknown),
        };
        let name = user.username.clone().unwrap_or_default();
        if self.may(user, verb).await? {
            Ok(Verdict::Allowed(Caller { name }))
        } else {
            Ok(Verdict::Forbidden(name))
        }
    }

    async fn may(&self, user: UserInfo, verb: Verb) -> Result<bool, kube::Error> {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: user.username,
                uid: user.uid,
                groups: user.groups,
                extra: user.extra,
                resource_attributes: Some(ResourceAttributes {
                    group: Some(String::new()),
                    resource: Some("services".to_owned()),
                    name: Some(self.service.clone()),
                    namespace: Some(self.namespace.clone()),
                    verb: Some(verb.as_str().to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

fn unauthenticated(detail: &str) -> Failure {
    Failure::new(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "Not authenticated",
        detail,
    )
}

/// Nobody is let in unchecked because the check is away.
fn unavailable(error: impl std::fmt::Display) -> Failure {
    tracing::warn!(%error, "tokens can't be reviewed");
    Failure::unavailable(
        "callers can't be authenticated now: the Kubernetes API is away",
        5,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_follow_what_a_route_does() {
        for (method, route, verb) in [
            (Method::GET, "/api/v1/audit/events", Verb::Get),
            (Method::POST, "/api/v1/audit/events", Verb::Create),
            (Method::POST, "/api/v1/audit/verify-chain", Verb::Get),
            (Method::POST, "/api/v1/workflows/search", Verb::Get),
            (Method::POST, "/api/v1/workflows", Verb::Create),
            (Method::PATCH, "/api/v1/workflows/{workflow_id}", Verb::Update),
            (Method::POST, "/api/v1/audit/legal-hold", Verb::Update),
            (
                Method::DELETE,
                "/api/v1/audit/legal-hold/{correlation_id}",
                Verb::Update,
            ),
        ] {
            assert_eq!(Verb::of(&method, route), verb, "{method} {route}");
        }
    }

    #[test]
    fn only_a_bearer_token_is_a_token() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("Bearer "), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
