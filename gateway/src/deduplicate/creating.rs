//! Creates the next request of an incident.
//!
//! An incident's first request has a name that follows from the fingerprint alone. For every other there is a pointer:
//! one small object that is moved by compare-and-swap, and names the only request that may be created. It is moved
//! when the request that it names is over, and read before any request is created, so that a replica that knows
//! nothing, or whose watch lags, cannot create a second active one.

use std::time::{Duration, Instant};

use wire::remediation_request::RemediationRequest;

use super::{Shared, Trail, Waiting, lock};
use crate::cluster::{Error, Pointer, Requests};
use crate::domain::fingerprint::Fingerprint;
use crate::domain::index::Record;
use crate::domain::request::{self, Place};

/// Maximum time from reading the pointer to the last attempt of a create. A create that is executed after the end and
/// the deletion of another request of that name would make a second active one.
const FRESH: Duration = Duration::from_secs(10);

/// A step towards an incident's current request.
pub(super) enum Step {
    /// It was created by this process, for this signal.
    Created(Box<Record>),
    /// The cluster changed, or the current request was added to the index: look again.
    Again,
}

impl<R: Requests, T: Trail> Shared<R, T> {
    /// Creates the current request, or finds it, or moves the pointer to the next one. An error comes with the name of
    /// the request that was not created.
    pub(super) async fn next(
        &self,
        fingerprint: Fingerprint,
        first: &Waiting,
    ) -> Result<Step, (Error, String)> {
        let read_at = Instant::now();
        let first_name = request::name(fingerprint, None);
        let known = match self.requests.pointer(fingerprint).await {
            Ok(known) => known,
            Err(error) => return Err((error, first_name)),
        };
        let step = Next {
            fingerprint,
            first,
            known: known.as_ref(),
            deadline: read_at + FRESH,
        };
        let name = known.as_ref().map_or(first_name, |known| known.name.clone());
        let result = match &known {
            None => self.create_first(&step, &name).await,
            Some(known) => self.create_current(&step, known).await,
        };
        result.map_err(|error| (error, name))
    }

    /// Without a pointer: creates the incident's first request.
    async fn create_first(&self, step: &Next<'_>, name: &str) -> Result<Step, Error> {
        let own = &step.first.signal.target.namespace;
        if !request::is_namespace_name(own) {
            return self.point(step, &self.fallback_namespace, name).await;
        }
        match self.create(step, name, Place::Own).await {
            Err(Error::AlreadyExists) => match self.requests.read(own, name).await? {
                None => Ok(Step::Again),
                Some(record) => self.follow(step, record).await,
            },
            Err(Error::NoNamespace) => self.point(step, &self.fallback_namespace, name).await,
            result => result,
        }
    }

    /// Reads the request that the pointer names, and creates it if it does not exist.
    async fn create_current(&self, step: &Next<'_>, current: &Pointer) -> Result<Step, Error> {
        let Pointer { namespace, name, .. } = current;
        if let Some(record) = self.requests.read(namespace, name).await? {
            return self.follow(step, record).await;
        }
        let is_own = *namespace == step.first.signal.target.namespace;
        let place = if is_own {
            Place::Own
        } else {
            Place::Fallback(namespace)
        };
        match self.create(step, name, place).await {
            Err(Error::AlreadyExists) => Ok(Step::Again),
            Err(Error::NoNamespace) if *namespace != self.fallback_namespace => {
                self.point(step, &self.fallback_namespace, name).await
            }
            Err(Error::NoNamespace) => Err(no_namespace()),
            result => result,
        }
    }

    /// Uses an active request; after another one, moves the pointer to its successor.
    async fn follow(&self, step: &Next<'_>, mut record: Record) -> Result<Step, Error> {
        let is_ours = record.signal_id.as_deref() == Some(step.first.id.to_string().as_str());
        // The name of another incident whose fingerprint begins with the same digits is skipped.
        let is_current = record.active && record.fingerprint == step.fingerprint;
        let successor = request::name(step.fingerprint, Some(&record.uid));
        if is_ours {
            let spec = request::spec(&step.first.signal, step.fingerprint);
            self.trail.announce(&record, &spec).await;
            record.announced = true;
        }
        lock(&self.index).observe(record.clone());
        if is_ours {
            // An attempt whose response was lost has created it.
            return Ok(Step::Created(Box::new(record)));
        }
        if is_current {
            return Ok(Step::Again);
        }
        let own = &step.first.signal.target.namespace;
        let namespace = if request::is_namespace_name(own) {
            own
        } else {
            &self.fallback_namespace
        };
        self.point(step, namespace, &successor).await
    }

    /// Moves the pointer.
    async fn point(&self, step: &Next<'_>, namespace: &str, name: &str) -> Result<Step, Error> {
        let moved = self.requests.point(step.fingerprint, step.known, namespace, name);
        match moved.await {
            // Another replica may have been first: the pointer is read again.
            Ok(_) | Err(Error::AlreadyExists | Error::Conflict | Error::NotFound) => Ok(Step::Again),
            Err(Error::NoNamespace) => Err(no_namespace()),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, step: &Next<'_>, name: &str, place: Place<'_>) -> Result<Step, Error> {
        let Waiting { id, signal, .. } = step.first;
        let wanted: RemediationRequest = request::build(signal, step.fingerprint, *id, name, place);
        let mut record = self.requests.create(&wanted, step.deadline).await?;
        self.trail.announce(&record, &wanted.spec).await;
        record.announced = true;
        lock(&self.index).observe(record.clone());
        Ok(Step::Created(Box::new(record)))
    }
}

/// What a step is based on.
struct Next<'a> {
    fingerprint: Fingerprint,
    first: &'a Waiting,
    /// The pointer that was read.
    known: Option<&'a Pointer>,
    deadline: Instant,
}

fn no_namespace() -> Error {
    Error::Rejected {
        status: 404,
        detail: "neither the signal's namespace nor the fallback namespace exists".to_owned(),
    }
}
