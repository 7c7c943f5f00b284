//! Replicas against a Kubernetes API over HTTP, with calls that are executed late, restarts, ends and deletions of
//! requests in random order: as the API server shows it, an incident never has two active requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use gateway::cluster::breakers::Breakers;
use gateway::cluster::kubernetes::Kubernetes;
use gateway::cluster::watch::{Progress, feed};
use gateway::cluster::{Error, Pointer, Requests, Writer};
use gateway::deduplicate::{Deduplicator, Trail};
use gateway::domain::fingerprint::Fingerprint;
use gateway::domain::index::{Index, Record};
use gateway::domain::signal::Signal;
use jiff::Timestamp;
use kube::api::{Api, DeleteParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::sync::RwLock;
use uuid::Uuid;
use wire::remediation_request::{RemediationRequest, RemediationRequestSpec};

use crate::stack::{Stack, until};

const REPLICAS: usize = 3;
const STEPS: usize = 250;
const INCIDENTS: [&str; 2] = ["A", "B"];
/// These tests are about numbers, not speed: a slow machine must not make them fail.
const PATIENT: &str = "[http]\nrequest_timeout_ms = 120000\n[retry]\ntimeout_ms = 60000\n";

/// The API with calls that are executed and answered late.
#[derive(Clone)]
struct Late(Kubernetes);

impl Late {
    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..15))).await;
    }
}

impl Requests for Late {
    async fn create(&self, request: &RemediationRequest, deadline: Instant) -> Result<Record, Error> {
        self.pause().await;
        let result = self.0.create(request, deadline).await;
        self.pause().await;
        result
    }

    async fn pointer(&self, fingerprint: Fingerprint) -> Result<Option<Pointer>, Error> {
        let result = self.0.pointer(fingerprint).await;
        self.pause().await;
        result
    }

    async fn point(
        &self,
        fingerprint: Fingerprint,
        known: Option<&Pointer>,
        namespace: &str,
        name: &str,
    ) -> Result<Pointer, Error> {
        self.pause().await;
        self.0.point(fingerprint, known, namespace, name).await
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Record>, Error> {
        let result = self.0.read(namespace, name).await;
        self.pause().await;
        result
    }

    async fn describe(&self, namespace: &str, name: &str) -> Result<Option<RemediationRequest>, Error> {
        self.0.describe(namespace, name).await
    }

    async fn count(&self, record: &Record, own: i64, last_seen: Timestamp) -> Result<Record, Error> {
        self.pause().await;
        self.0.count(record, own, last_seen).await
    }
}

/// No audit trail.
struct Silent;

impl Trail for Silent {
    async fn announce(&self, _: &Record, _: &RemediationRequestSpec) {}
}

/// One replica and the task of its watch.
struct Replica {
    deduplicator: Deduplicator<Late, Silent>,
    feed: tokio::task::JoinHandle<()>,
}

impl Replica {
    async fn start(stack: &Stack) -> Self {
        let index = Arc::<Mutex<Index>>::default();
        let (progress, mut synced) = tokio::sync::watch::channel(Progress::Starting {
            detail: String::new(),
        });
        let writer = Writer::default();
        let feed = tokio::spawn(feed(
            stack.client.clone(),
            writer.clone(),
            Arc::clone(&index),
            progress,
        ));
        synced
            .wait_for(|progress| *progress == Progress::Synced)
            .await
            .unwrap();
        let kubernetes = Kubernetes::new(
            stack.client.clone(),
            Default::default(),
            Arc::new(Breakers::new(Default::default())),
            "kubernaut-system".into(),
            writer,
        );
        let deduplicator = Deduplicator::new(
            Late(kubernetes),
            Silent,
            index,
            "kubernaut-system".into(),
            Duration::ZERO,
        );
        Self { deduplicator, feed }
    }
}

fn signal(name: &str) -> Signal {
    let event = json!({
        "reason": name, "type": "Warning", "lastTimestamp": Timestamp::now(),
        "involvedObject": { "kind": "Pod", "name": "p", "namespace": "shop" },
    });
    let read = gateway::domain::event::read(event.to_string().as_bytes(), Timestamp::now());
    read.unwrap().signal
}

/// Follows all changes, and returns the moments at which an incident had more than one active request.
async fn observe(stack: &Stack, seen: Arc<Mutex<Vec<String>>>) {
    let api: Api<RemediationRequest> = Api::all(stack.client.clone());
    let mut active: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let parameters = WatchParams::default().timeout(290);
    let mut changes = std::pin::pin!(api.watch(&parameters, "0").await.unwrap());
    while let Ok(Some(change)) = changes.try_next().await {
        let (request, exists) = match change {
            WatchEvent::Added(request) | WatchEvent::Modified(request) => (request, true),
            WatchEvent::Deleted(request) => (request, false),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
        };
        let of_incident = active.entry(request.spec.signal_fingerprint.clone()).or_default();
        let name = request.metadata.name.clone().unwrap();
        if exists && request.is_active() {
            of_incident.insert(name);
        } else {
            of_incident.remove(&name);
        }
        if of_incident.len() > 1 {
            seen.lock().unwrap().push(format!("{of_incident:?}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn never_two_active_requests_in_random_orders() {
    let stack = Arc::new(Stack::start().await);
    let violations = Arc::<Mutex<Vec<String>>>::default();
    let observer = tokio::spawn({
        let (stack, violations) = (Arc::clone(&stack), Arc::clone(&violations));
        async move { observe(&stack, violations).await }
    });
    let api: Api<RemediationRequest> = Api::namespaced(stack.client.clone(), "shop");
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(Replica::start(&stack).await);
    }
    // A request is deleted while no signal is in flight: a create that was decided before the end of a request is
    // executed before its deletion.
    let in_flight = Arc::<RwLock<()>>::default();
    let mut tasks = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..STEPS {
        let number = random.usize(..REPLICAS);
        let requests = stack.requests("shop").await;
        match random.u8(..10) {
            0..6 => {
                let (deduplicator, in_flight) =
                    (replicas[number].deduplicator.clone(), Arc::clone(&in_flight));
                let signal = signal(INCIDENTS[random.usize(..2)]);
                for _ in 0..4 {
                    let (deduplicator, signal) = (deduplicator.clone(), signal.clone());
                    let guard = Arc::clone(&in_flight).read_owned().await;
                    tasks.push(tokio::spawn(async move {
                        let fingerprint = signal.fingerprint();
                        let result = deduplicator.submit(Uuid::now_v7(), signal, fingerprint).await;
                        drop(guard);
                        result.is_ok()
                    }));
                }
            }
            6..8 => {
                let request = random.choice(&requests);
                if let Some(request) = request.filter(|request| request.is_active()) {
                    stack.set_phase(request, "Completed").await;
                }
            }
            8 => {
                if let Some(request) = random.choice(&requests) {
                    let _none = in_flight.write().await;
                    let name = request.metadata.name.as_deref().unwrap();
                    api.delete(name, &DeleteParams::default()).await.unwrap();
                }
            }
            _ => {
                let next = Replica::start(&stack).await;
                std::mem::replace(&mut replicas[number], next).feed.abort();
            }
        }
    }
    let results = futures::future::join_all(tasks).await;
    assert!(results.into_iter().all(Result::unwrap), "a signal has no request");
    until("one active request of each incident", async || {
        for name in INCIDENTS {
            let signal = signal(name);
            let fingerprint = signal.fingerprint();
            let result = replicas[0]
                .deduplicator
                .submit(Uuid::now_v7(), signal, fingerprint)
                .await;
            assert!(result.is_ok());
        }
        let requests = stack.requests("shop").await;
        requests.iter().filter(|request| request.is_active()).count() == INCIDENTS.len()
    })
    .await;
    observer.abort();
    assert_eq!(*violations.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_replica_and_one_with_a_stalled_watch_agree_after_a_deletion() {
    let stack = Arc::new(Stack::start().await);
    let violations = Arc::<Mutex<Vec<String>>>::default();
    let observer = tokio::spawn({
        let (stack, violations) = (Arc::clone(&stack), Arc::clone(&violations));
        async move { observe(&stack, violations).await }
    });
    let first = stack.gateway("a", PATIENT).await;
    stack
        .fault(json!({ "method": "WATCH", "path": "remediationrequests", "fault": "stall-watch" }))
        .await;
    let api: Api<RemediationRequest> = Api::namespaced(stack.client.clone(), "shop");
    for round in 0..4 {
        let answer = first.alert("A").await;
        assert_eq!(answer.status, 201, "{answer:?} {}", first.log());
        // In later rounds a successor has another name, and its predecessors are deleted.
        for _ in 0..round {
            let active = stack
                .requests("shop")
                .await
                .into_iter()
                .find(RemediationRequest::is_active);
            stack.set_phase(&active.unwrap(), "Completed").await;
            assert_eq!(first.alert("A").await.status, 201);
        }
        let requests = stack.requests("shop").await;
        for request in &requests {
            if request.is_active() {
                stack.set_phase(request, "Failed").await;
            }
            let name = request.metadata.name.as_deref().unwrap();
            api.delete(name, &DeleteParams::default()).await.unwrap();
        }
        let second = stack.gateway("b", PATIENT).await;
        let (one, two) = tokio::join!(first.storm("A", 10), second.storm("A", 10));
        let total = |status| one.get(&status).unwrap_or(&0) + two.get(&status).unwrap_or(&0);
        let logs = format!("{one:?} {two:?}\n{}\n{}", first.log(), second.log());
        assert_eq!((total(201), total(202)), (1, 19), "round {round}: {logs}");
        let active = stack.requests("shop").await;
        assert_eq!(active.len(), 1);
        stack.set_phase(&active[0], "Completed").await;
        let name = active[0].metadata.name.as_deref().unwrap();
        api.delete(name, &DeleteParams::default()).await.unwrap();
        second.kill();
    }
    observer.abort();
    assert_eq!(*violations.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_that_knows_nothing_finds_the_successor_of_a_deleted_request() {
    let stack = Stack::start().await;
    let blind = stack.gateway("blind", PATIENT).await;
    let other = stack.gateway("other", PATIENT).await;
    stack
        .fault(json!({ "method": "WATCH", "path": "remediationrequests", "fault": "stall-watch" }))
        .await;
    let api: Api<RemediationRequest> = Api::namespaced(stack.client.clone(), "shop");
    assert_eq!(other.alert("A").await.status, 201);
    let first = stack.requests("shop").await.remove(0);
    stack.set_phase(&first, "Completed").await;
    let successor = other.alert("A").await;
    assert_eq!(successor.status, 201);
    let name = first.metadata.name.as_deref().unwrap();
    api.delete(name, &DeleteParams::default()).await.unwrap();
    let found = blind.alert("A").await;
    assert_eq!(
        (found.status, &found.body["remediationRequestName"]),
        (202, &successor.body["remediationRequestName"])
    );
    assert_eq!(stack.requests("shop").await.len(), 1);
}
