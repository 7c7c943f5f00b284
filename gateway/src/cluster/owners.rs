//! The top-level owner of an object: of a pod its Deployment, so that the pods of a crash loop are one incident.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{GetParams, ObjectMeta};
use kube::core::request::Request as RequestBuilder;
use serde::Deserialize;

use super::Error;
use super::kubernetes::Kubernetes;
use super::slim;
use crate::domain::request::is_namespace_name;
use crate::domain::target::Target;

/// The kinds that own or are owned, and their API resources. An object of any other kind counts as its own top-level
/// owner.
const OWNED: [(&str, &str); 6] = [
    ("Pod", "/api/v1/namespaces/{}/pods"),
    ("ReplicaSet", "/apis/apps/v1/namespaces/{}/replicasets"),
    ("StatefulSet", "/apis/apps/v1/namespaces/{}/statefulsets"),
    ("DaemonSet", "/apis/apps/v1/namespaces/{}/daemonsets"),
    ("Deployment", "/apis/apps/v1/namespaces/{}/deployments"),
    ("Job", "/apis/batch/v1/namespaces/{}/jobs"),
];
/// Maximum length of a chain of owners.
const MAX_STEPS: usize = 8;
/// How long an owner is cached: longer than a deleted pod's alerts keep firing.
const CACHE_TTL: Duration = Duration::from_secs(600);
/// How long a missing object is cached; it may be created.
const ABSENT: Duration = Duration::from_secs(10);
/// Maximum number of cached objects.
const MOST: usize = 10_000;

/// Looks up and caches owners.
pub struct Owners {
    kubernetes: Kubernetes,
    known: Mutex<HashMap<Target, (Instant, Target)>>,
}

#[derive(Deserialize)]
struct Owned {
    metadata: ObjectMeta,
}

impl Owners {
    /// Looks up through `kubernetes`.
    #[must_use]
    pub fn new(kubernetes: Kubernetes) -> Self {
        Self {
            kubernetes,
            known: Mutex::default(),
        }
    }

    /// The top-level owner of `target`; the target itself if it has none or does not exist.
    ///
    /// # Errors
    /// The cluster is unavailable, or the Gateway lacks the permission.
    pub async fn top(&self, target: &Target) -> Result<Target, Error> {
        if let Some(top) = self.cached(target) {
            return Ok(top);
        }
        let mut top = target.clone();
        let mut ttl = CACHE_TTL;
        for _ in 0..MAX_STEPS {
            match self.owner(&top).await {
                Ok(Some(owner)) => top = owner,
                Ok(None) => break,
                Err(Error::NotFound) => {
                    ttl = ABSENT;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.cache(target, &top, ttl);
        Ok(top)
    }

    async fn owner(&self, target: &Target) -> Result<Option<Target>, Error> {
        let Some((_, path)) = OWNED.iter().find(|(kind, _)| *kind == target.kind) else {
            return Ok(None);
        };
        if !is_namespace_name(&target.namespace) || !is_object_name(&target.name) {
            return Err(Error::NotFound);
        }
        let request = RequestBuilder::new(path.replace("{}", &target.namespace))
            .get_metadata(&target.name, &GetParams::default())
            .map_err(|error| Error::Rejected {
                status: 0,
                detail: error.to_string(),
            })?;
        let owned: Owned = match self
            .kubernetes
            .call(&target.namespace, request, slim::parse)
            .await
        {
            Err(Error::Rejected { status: 404, .. } | Error::NoNamespace) => return Err(Error::NotFound),
            other => other?,
        };
        let owners = owned.metadata.owner_references.unwrap_or_default();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        Ok(controller.map(|owner| Target {
            namespace: target.namespace.clone(),
            kind: owner.kind,
            name: owner.name,
        }))
    }

    fn cached(&self, target: &Target) -> Option<Target> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(target)
            .filter(|(until, _)| Instant::now() < *until)
            .map(|(_, top)| top.clone())
    }

    fn cache(&self, target: &Target, top: &Target, time: Duration) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (until, _)| now < *until);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(target.clone(), (now + time, top.clone()));
    }
}

/// Whether an object of this name can exist. Other names must not get into a request's path.
fn is_object_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (1..=253).contains(&text.len()) && text.bytes().all(legal) && !text.starts_with('.')
}
