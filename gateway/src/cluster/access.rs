//! Who a caller is and whether it may send signals, as the cluster's own accounts and roles say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::Resource;
use kube::api::PostParams;
use kube::core::request::Request as RequestBuilder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::Error;
use super::kubernetes::Kubernetes;

/// Tokens that are remembered; with more than these at once the cluster is asked more often.
const REMEMBERED: usize = 1_024;

/// What a caller may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may send signals.
    Allowed,
    /// The token is nobody's, or no longer valid.
    Unknown,
    /// The account may not `create` on the Gateway's service.
    Forbidden,
}

/// Asks the cluster, and remembers for a few seconds. Tokens are remembered by their hash only.
pub struct Access {
    kubernetes: Kubernetes,
    service: String,
    namespace: String,
    remembered_for: Duration,
    verdicts: Mutex<HashMap<[u8; 32], Place>>,
}

/// Locked while the cluster is asked, so that it is asked once for all who wait.
type Place = Arc<tokio::sync::Mutex<Option<(Instant, Verdict)>>>;

impl Access {
    /// Callers need `create` on the service of that name and namespace.
    #[must_use]
    pub fn new(kubernetes: Kubernetes, service: String, namespace: String, remembered_for: Duration) -> Self {
        Self {
            kubernetes,
            service,
            namespace,
            remembered_for,
            verdicts: Mutex::default(),
        }
    }

    /// What the bearer of the token may.
    ///
    /// # Errors
    /// The cluster can't say now.
    pub async fn judge(&self, token: &str) -> Result<Verdict, Error> {
        let place = self.place(Sha256::digest(token.as_bytes()).into());
        let mut known = place.lock().await;
        if let Some((at, verdict)) = &*known
            && at.elapsed() < self.remembered_for
        {
            return Ok(verdict.clone());
        }
        let verdict = self.ask(token).await?;
        *known = Some((Instant::now(), verdict.clone()));
        Ok(verdict)
    }

    fn place(&self, hash: [u8; 32]) -> Place {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= REMEMBERED && !verdicts.contains_key(&hash) {
            verdicts.retain(|_, place| {
                // One that is locked is being asked for just now.
                place.try_lock().map_or(true, |known| {
                    known
                        .as_ref()
                        .is_some_and(|(at, _)| at.elapsed() < self.remembered_for)
                })
            });
            if verdicts.len() >= REMEMBERED {
                verdicts.clear();
            }
        }
        Arc::clone(verdicts.entry(hash).or_default())
    }

    async fn ask(&self, token: &str) -> Result<Verdict, Error> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: None,
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let status = self.review(&review).await?.status.unwrap_or_default();
        let Some(user) = status.user.filter(|_| status.authenticated == Some(true)) else {
            return Ok(Verdict::Unknown);
        };
        let review = SubjectAccessReview {
            spec: self.question(user),
            ..SubjectAccessReview::default()
        };
        let allowed = matches!(
            self.review(&review).await?.status,
            Some(SubjectAccessReviewStatus { allowed: true, .. })
        );
        Ok(if allowed {
            Verdict::Allowed
        } else {
            Verdict::Forbidden
        })
    }

    fn question(&self, user: UserInfo) -> SubjectAccessReviewSpec {
        SubjectAccessReviewSpec {
            user: user.username,
            uid: user.uid,
            groups: user.groups,
            extra: user.extra,
            resource_attributes: Some(ResourceAttributes {
                verb: Some("create".to_owned()),
                resource: Some("services".to_owned()),
                name: Some(self.service.clone()),
                namespace: Some(self.namespace.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        }
    }

    async fn review<K>(&self, review: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let unbuildable = |error: &dyn std::fmt::Display| Error::Refused {
            status: 0,
            detail: format!("the review can't be built: {error}"),
        };
        let body = serde_json::to_vec(review).map_err(|error| unbuildable(&error))?;
        let call = RequestBuilder::new(K::url_path(&(), None))
            .create(&PostParams::default(), body)
            .map_err(|error| unbuildable(&error))?;
        self.kubernetes.call(call).await
    }
}
