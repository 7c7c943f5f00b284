//! Authentication and authorization of clients by the Kubernetes API: a bearer token is reviewed (TokenReview), and its
//! account must have the right to a verb on the service that `[auth]` names (SubjectAccessReview).
//!
//! A decision is cached by the token's hash, with one review in flight per token. Invalid tokens cannot crowd out valid
//! ones: allowed decisions have a cache of their own, and tokens that were valid before have review slots of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use moka::future::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::config;
use crate::problem::Failure;

/// An authenticated client, in the extensions of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The account's name, such as `system:serviceaccount:default:gateway`.
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    Allowed(Client),
    Forbidden(String),
    Unknown,
}

/// SHA-256 of a token, and the verb.
type Key = ([u8; 32], &'static str);

/// Maximum time of both reviews.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of decisions per cache, about 200 bytes each.
const MAX_DECISIONS: u64 = 10_000;
/// How long a token that was valid once gets the slots of known tokens.
const KNOWN: Duration = Duration::from_secs(3_600);
/// Concurrent reviews of tokens that were valid before, and of all others.
const KNOWN_SLOTS: usize = 16;
const UNKNOWN_SLOTS: usize = 16;
/// Maximum length of a token; service account tokens have about a kilobyte.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Retry-After in seconds while no review is possible.
const RETRY_AFTER: u64 = 5;

/// Reviews tokens; cheap to clone.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    client: kube::Client,
    audiences: Option<Vec<String>>,
    namespace: String,
    service: String,
    allowed: Cache<Key, Client>,
    /// Every decision; also what makes concurrent requests with one token share a review.
    decisions: Cache<Key, Decision>,
    known: Cache<[u8; 32], ()>,
    known_slots: Semaphore,
    unknown_slots: Semaphore,
}

impl Authorizer {
    /// Connects as `[auth]` says; without `auth.kubeconfig` by `client`, or else as in a pod. Sends nothing yet.
    ///
    /// # Errors
    /// There is no usable configuration of the Kubernetes API.
    pub async fn connect(settings: &config::Auth, client: Option<kube::Client>) -> anyhow::Result<Self> {
        let client = match (&settings.kubeconfig, client) {
            (Some(path), _) => connect(path).await?,
            (None, Some(client)) => client,
            (None, None) => kube::Client::try_from(kube::Config::incluster().context(
                "clients are authenticated, and this is not a pod: set auth.kubeconfig or auth.mode",
            )?)?,
        };
        Ok(Self::new(settings, client))
    }

    /// Reviews by `client`.
    #[must_use]
    pub fn new(settings: &config::Auth, client: kube::Client) -> Self {
        let ttl = Duration::from_millis(settings.cache_ttl_ms);
        Self(Arc::new(Inner {
            client,
            audiences: (!settings.audiences.is_empty()).then(|| settings.audiences.clone()),
            namespace: settings.namespace.clone(),
            service: settings.service.clone(),
            allowed: Cache::builder()
                .max_capacity(MAX_DECISIONS)
                .time_to_live(ttl)
                .build(),
            decisions: Cache::builder()
                .max_capacity(MAX_DECISIONS)
                .time_to_live(ttl)
                .build(),
            known: Cache::builder()
                .max_capacity(MAX_DECISIONS)
                .time_to_live(KNOWN)
                .build(),
            known_slots: Semaphore::new(KNOWN_SLOTS),
            unknown_slots: Semaphore::new(UNKNOWN_SLOTS),
        }))
    }

    /// Returns the client whose token has the right to `verb`.
    ///
    /// # Errors
    /// 401 without a valid token, 403 without the right, 503 while the Kubernetes API is unavailable or too slow.
    pub async fn authorize(&self, headers: &HeaderMap, verb: &'static str) -> Result<Client, Failure> {
        let Some(token) = bearer(headers) else {
            return Err(Failure::unauthenticated(
                "send a bearer token in the Authorization header",
                false,
            ));
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Failure::unauthenticated("the token is too long", true));
        }
        // Tokens themselves are never stored.
        let key = (<[u8; 32]>::from(Sha256::digest(token.as_bytes())), verb);
        if let Some(client) = self.0.allowed.get(&key).await {
            return Ok(client);
        }
        let review = self.0.decide(key, token);
        let decision = self
            .0
            .decisions
            .try_get_with(key, review)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "cannot review tokens");
                Failure::unavailable(
                    "cannot authenticate clients: the Kubernetes API is unavailable",
                    RETRY_AFTER,
                )
            })?;
        match decision {
            Decision::Allowed(client) => Ok(client),
            Decision::Unknown => Err(Failure::unauthenticated("the token is not valid", true)),
            Decision::Forbidden(name) => Err(Failure::forbidden(format!(
                "{name} may not {verb} services/{} in {}; bind a role that allows it",
                self.0.service, self.0.namespace
            ))),
        }
    }
}

impl Inner {
    async fn decide(&self, key: Key, token: &str) -> Result<Decision, String> {
        let slots = if self.known.contains_key(&key.0) {
            &self.known_slots
        } else {
            &self.unknown_slots
        };
        let review = async {
            let _slot = slots.acquire().await.map_err(|error| error.to_string())?;
            self.review(token, key.1).await.map_err(|error| error.to_string())
        };
        let decision = tokio::time::timeout(TIMEOUT, review)
            .await
            .map_err(|_| format!("no decision within {TIMEOUT:?}"))??;
        if let Decision::Allowed(client) = &decision {
            self.allowed.insert(key, client.clone()).await;
            self.known.insert(key.0, ()).await;
        }
        Ok(decision)
    }

    async fn review(&self, token: &str, verb: &str) -> Result<Decision, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: self.audiences.clone(),
            },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status;
        let status = status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Decision::Unknown);
        };
        let name = user.username.clone().unwrap_or_default();
        let review = SubjectAccessReview {
            spec: self.question(user, verb),
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status;
        Ok(if status.is_some_and(|status| status.allowed) {
            Decision::Allowed(Client { name })
        } else {
            Decision::Forbidden(name)
        })
    }

    fn question(&self, user: UserInfo, verb: &str) -> SubjectAccessReviewSpec {
        SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            resource_attributes: Some(ResourceAttributes {
                group: Some(String::new()),
                resource: Some("services".to_owned()),
                name: Some(self.service.clone()),
                namespace: Some(self.namespace.clone()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        }
    }
}

/// A client of the cluster in a kubeconfig.
async fn connect(path: &Path) -> anyhow::Result<kube::Client> {
    let file = kube::config::Kubeconfig::read_from(path)
        .with_context(|| format!("cannot read auth.kubeconfig {}", path.display()))?;
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
    Ok(kube::Client::try_from(config)?)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use axum::http::{Request, Response};
    use http_body_util::BodyExt;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::service_fn;

    use super::*;

    /// Reviews by token, and a gate that holds back the reviews of tokens that begin with `slow`.
    #[derive(Clone, Default)]
    struct Cluster {
        reviews: Arc<Mutex<BTreeMap<String, usize>>>,
        gate: Arc<tokio::sync::Mutex<()>>,
        down: Arc<std::sync::atomic::AtomicBool>,
    }

    impl Cluster {
        fn authorizer(&self, cache_ttl_ms: u64) -> Authorizer {
            let cluster = self.clone();
            let service = service_fn(move |request: Request<Body>| {
                let cluster = cluster.clone();
                async move { cluster.respond(request).await }
            });
            let settings = config::Auth {
                service: "gateway".to_owned(),
                cache_ttl_ms,
                ..config::Auth::default()
            };
            Authorizer::new(&settings, kube::Client::new(service, "default"))
        }

        async fn respond(&self, request: Request<Body>) -> Result<Response<Body>, tower::BoxError> {
            if self.down.load(std::sync::atomic::Ordering::SeqCst) {
                return Err("connection refused".into());
            }
            let bytes = request.into_body().collect().await?.to_bytes();
            let mut review: Value = serde_json::from_slice(&bytes)?;
            let status = match review["spec"]["token"].as_str().map(str::to_owned) {
                Some(token) => {
                    *self.reviews.lock().unwrap().entry(token.clone()).or_default() += 1;
                    if token.starts_with("slow") {
                        drop(self.gate.lock().await);
                    }
                    json!({"authenticated": token.contains("good"), "user": {"username": token}})
                }
                None => json!({"allowed": review["spec"]["user"] != "slow-good-reader"
                    && review["spec"]["user"] != "good-reader"}),
            };
            review["status"] = status;
            let body = Body::from(serde_json::to_vec(&review)?);
            Ok(Response::builder().status(201).body(body)?)
        }

        fn count(&self, token: &str) -> usize {
            self.reviews
                .lock()
                .unwrap()
                .get(token)
                .copied()
                .unwrap_or_default()
        }
    }

    fn headers(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    }

    #[tokio::test]
    async fn decides_by_token_and_right() {
        let authorizer = Cluster::default().authorizer(1_000);
        let client = authorizer.authorize(&headers("good"), "create").await.unwrap();
        assert_eq!(client.name, "good");
        for (headers, status, challenge) in [
            (HeaderMap::new(), 401, Some("Bearer")),
            (headers("junk"), 401, Some("Bearer error=\"invalid_token\"")),
            (
                headers(&"x".repeat(MAX_TOKEN_BYTES + 1)),
                401,
                Some("Bearer error=\"invalid_token\""),
            ),
            (headers("good-reader"), 403, None),
        ] {
            let failure = authorizer.authorize(&headers, "create").await.unwrap_err();
            assert_eq!(
                (failure.status().as_u16(), failure.challenge),
                (status, challenge)
            );
        }
    }

    #[tokio::test]
    async fn concurrent_requests_with_one_token_share_a_review() {
        let cluster = Cluster::default();
        let authorizer = cluster.authorizer(60_000);
        let token = headers("slow-good");
        let held = cluster.gate.lock().await;
        let requests = (0..100).map(|_| authorizer.authorize(&token, "create"));
        let all = futures::future::join_all(requests);
        let release = async {
            while cluster.count("slow-good") == 0 {
                tokio::task::yield_now().await;
            }
            drop(held);
        };
        let (results, ()) = tokio::join!(all, release);
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(cluster.count("slow-good"), 1);
    }

    #[tokio::test]
    async fn junk_tokens_neither_evict_nor_hold_back_valid_ones() {
        let cluster = Cluster::default();
        let authorizer = cluster.authorizer(60_000);
        authorizer.authorize(&headers("good"), "create").await.unwrap();
        for number in 0..2 * MAX_DECISIONS {
            authorizer
                .authorize(&headers(&format!("junk-{number}")), "create")
                .await
                .unwrap_err();
        }
        authorizer.authorize(&headers("good"), "create").await.unwrap();
        assert_eq!(cluster.count("good"), 1, "the decision was evicted");
        // All slots of unknown tokens are in use: a token that was valid before still gets its review.
        let held = cluster.gate.lock().await;
        let junk: Vec<_> = (0..4 * UNKNOWN_SLOTS)
            .map(|number| {
                let (authorizer, headers) = (authorizer.clone(), headers(&format!("slow-{number}")));
                tokio::spawn(async move { authorizer.authorize(&headers, "create").await })
            })
            .collect();
        while authorizer.0.unknown_slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        authorizer.authorize(&headers("good"), "update").await.unwrap();
        drop(held);
        for request in junk {
            assert_eq!(request.await.unwrap().unwrap_err().status(), 401);
        }
    }

    #[tokio::test]
    async fn unavailable_api_is_503_and_not_cached() {
        let cluster = Cluster::default();
        let authorizer = cluster.authorizer(60_000);
        cluster.down.store(true, std::sync::atomic::Ordering::SeqCst);
        let failure = authorizer
            .authorize(&headers("good"), "create")
            .await
            .unwrap_err();
        assert_eq!(
            (failure.status().as_u16(), failure.retry_after),
            (503, Some(RETRY_AFTER))
        );
        cluster.down.store(false, std::sync::atomic::Ordering::SeqCst);
        authorizer.authorize(&headers("good"), "create").await.unwrap();
    }

    #[test]
    fn accepts_only_bearer_tokens() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(of("bearer abc").as_deref(), Some("abc"));
        assert_eq!(
            (of("Basic abc"), of("Bearer "), bearer(&HeaderMap::new())),
            (None, None, None)
        );
    }
}
