//! Deduplication against a cluster in memory that loses answers, refuses, and is written to by others.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use wire::remediation_request::{RemediationRequest, Severity, SignalType, phase_is_active};

use super::*;
use crate::domain::signal::Target;

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is done, but the answer is lost; the try after it meets what was done.
    AnswerLost,
    /// Somebody else writes first.
    Conflict,
    /// The API is away.
    Away,
}

/// A cluster that keeps what the API server promises: unique names, versions, namespaces.
#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<(String, String), Record>,
    version: u64,
    missing: Vec<String>,
    faults: Vec<Fault>,
    random: Option<fastrand::Rng>,
    writes: usize,
}

impl Inner {
    fn fault(&mut self) -> Option<Fault> {
        self.writes += 1;
        if let Some(random) = &mut self.random {
            let faults = [Fault::AnswerLost, Fault::Conflict];
            return (random.u8(..) < 80).then(|| faults[random.usize(..2)]);
        }
        (!self.faults.is_empty()).then(|| self.faults.remove(0))
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }
}

impl Cluster {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Lets others go on in between, so that every order of their steps comes up.
    async fn pause(&self) {
        let turns = self.lock().random.as_mut().map_or(1, |random| random.usize(..4));
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    fn records(&self) -> Vec<Record> {
        self.lock().objects.values().cloned().collect()
    }

    fn set_phase(&self, record: &Record, phase: &str) {
        let mut inner = self.lock();
        let version = inner.next_version();
        let stored = inner
            .objects
            .get_mut(&(record.namespace.clone(), record.name.clone()))
            .unwrap();
        stored.active = phase_is_active(Some(phase));
        stored.resource_version = version;
    }
}

fn away() -> Error {
    Error::Unavailable {
        cause: Cause::Unreachable,
        retry_after: Duration::from_secs(1),
        detail: String::new(),
    }
}

impl Requests for Cluster {
    async fn create(&self, request: &RemediationRequest) -> Result<Record, Error> {
        self.pause().await;
        let mut inner = self.lock();
        let fault = inner.fault();
        if fault == Some(Fault::Away) {
            return Err(away());
        }
        let namespace = request.metadata.namespace.clone().unwrap();
        let name = request.metadata.name.clone().unwrap();
        if inner.missing.contains(&namespace) {
            return Err(Error::NoNamespace);
        }
        let version = inner.next_version();
        match inner.objects.entry((namespace.clone(), name.clone())) {
            Entry::Occupied(_) => Err(Error::AlreadyExists),
            Entry::Vacant(place) => {
                let record = Record {
                    fingerprint: Fingerprint::parse(&request.spec.signal_fingerprint).unwrap(),
                    namespace,
                    name,
                    uid: Uuid::new_v4().to_string(),
                    resource_version: version,
                    active: true,
                    created: Timestamp::UNIX_EPOCH,
                    first_seen: request.spec.received_time,
                    last_seen: request.spec.received_time,
                    count: 1,
                    signal_id: Some(
                        request.metadata.annotations.as_ref().unwrap()[request::SIGNAL_ID].clone(),
                    ),
                };
                place.insert(record.clone());
                if fault == Some(Fault::AnswerLost) {
                    Err(Error::AlreadyExists)
                } else {
                    Ok(record)
                }
            }
        }
    }

    async fn read(&self, namespace: &str, name: &str) -> Result<Option<Record>, Error> {
        self.pause().await;
        Ok(self
            .lock()
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned())
    }

    async fn count(&self, record: &Record, count: &Deduplication) -> Result<Record, Error> {
        self.pause().await;
        let mut inner = self.lock();
        let fault = inner.fault();
        if fault == Some(Fault::Away) {
            return Err(away());
        }
        let version = inner.next_version();
        let Some(stored) = inner
            .objects
            .get_mut(&(record.namespace.clone(), record.name.clone()))
        else {
            return Err(Error::NotFound);
        };
        if fault == Some(Fault::Conflict)
            || stored.resource_version != record.resource_version
            || stored.uid != record.uid
        {
            return Err(Error::Conflict);
        }
        stored.resource_version = version;
        stored.count = count.occurrence_count;
        stored.first_seen = count.first_seen_at;
        stored.last_seen = count.last_seen_at;
        if fault == Some(Fault::AnswerLost) {
            Err(Error::Conflict)
        } else {
            Ok(stored.clone())
        }
    }
}

/// One replica of the Gateway; it learns of others' requests only by meeting them.
fn replica(cluster: &Cluster) -> Deduplicator<Cluster> {
    Deduplicator::new(
        cluster.clone(),
        Arc::default(),
        "fallback".into(),
        Duration::from_millis(1),
    )
}

fn signal(namespace: &str) -> Signal {
    Signal {
        name: "A".into(),
        severity: Severity::Warning,
        signal_type: SignalType::PrometheusAlert,
        source: "alertmanager".into(),
        target: Target {
            namespace: namespace.into(),
            kind: "Pod".into(),
            name: "p".into(),
        },
        firing_time: Timestamp::now(),
        received_time: Timestamp::now(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        payload: "{}".into(),
    }
}

async fn send(deduplicator: &Deduplicator<Cluster>) -> Result<Outcome, Failure> {
    send_from(deduplicator, "shop").await
}

async fn send_from(deduplicator: &Deduplicator<Cluster>, namespace: &str) -> Result<Outcome, Failure> {
    let signal = signal(namespace);
    let fingerprint = signal.fingerprint();
    deduplicator.submit(Uuid::now_v7(), signal, fingerprint).await
}

/// Sends `number` identical signals at once, spread over the replicas.
async fn storm(replicas: &[Deduplicator<Cluster>], number: usize) -> Vec<Result<Outcome, Failure>> {
    let sent = (0..number).map(|position| {
        let replica = replicas[position % replicas.len()].clone();
        tokio::spawn(async move { send(&replica).await })
    });
    futures::future::join_all(sent)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn two_hundred_at_once_are_one_request_and_few_writes() {
    let cluster = Cluster::default();
    let outcomes = storm(&[replica(&cluster)], 200).await;
    let mut counts: Vec<i64> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap().count)
        .collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        (1..=200).collect::<Vec<_>>(),
        "each is told its own place"
    );
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| !outcome.as_ref().unwrap().duplicate)
            .count(),
        1
    );
    let records = cluster.records();
    assert_eq!((records.len(), records[0].count), (1, 200));
    assert!(
        cluster.lock().writes < 20,
        "{} writes for one storm",
        cluster.lock().writes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_at_once_over_three_replicas_are_one_request() {
    let cluster = Cluster::default();
    let replicas: Vec<_> = (0..3).map(|_| replica(&cluster)).collect();
    let outcomes = storm(&replicas, 1_000).await;
    assert_eq!(
        outcomes
            .iter()
            .filter(|outcome| !outcome.as_ref().unwrap().duplicate)
            .count(),
        1
    );
    let records = cluster.records();
    assert_eq!((records.len(), records[0].count), (1, 1_000));
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_lost_answers_neither_lose_nor_double_in_a_hundred_random_runs() {
    for seed in 0..100 {
        let cluster = Cluster::default();
        cluster.lock().random = Some(fastrand::Rng::with_seed(seed));
        let outcomes = storm(&[replica(&cluster)], 50).await;
        let created = outcomes
            .iter()
            .filter(|outcome| !outcome.as_ref().unwrap().duplicate)
            .count();
        let records = cluster.records();
        assert_eq!(
            (created, records.len(), records[0].count),
            (1, 1, 50),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn conflicts_between_replicas_are_counted_exactly_in_a_hundred_random_runs() {
    for seed in 0..100 {
        let cluster = Cluster::default();
        let replicas: Vec<_> = (0..3).map(|_| replica(&cluster)).collect();
        {
            let mut inner = cluster.lock();
            inner.faults = [Fault::Conflict; 40].to_vec();
            fastrand::Rng::with_seed(seed).shuffle(&mut inner.faults);
        }
        let outcomes = storm(&replicas, 60).await;
        let created = outcomes
            .iter()
            .filter(|outcome| !outcome.as_ref().unwrap().duplicate)
            .count();
        let records = cluster.records();
        assert_eq!(
            (created, records.len(), records[0].count),
            (1, 1, 60),
            "seed {seed}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_over_is_followed_by_one_more_for_all_replicas() {
    let cluster = Cluster::default();
    let (one, other, blind) = (replica(&cluster), replica(&cluster), replica(&cluster));
    let first = send(&one).await.unwrap();
    for phase in ["Pending", "Processing", "NeverHeardOf"] {
        cluster.set_phase(&cluster.records()[0], phase);
        assert!(send(&one).await.unwrap().duplicate, "{phase}");
    }
    // One and the other still believe that it is active.
    assert!(send(&other).await.unwrap().duplicate);
    cluster.set_phase(&cluster.records()[0], "Completed");
    let second = send(&one).await.unwrap();
    assert!(!second.duplicate);
    assert_ne!(second.name, first.name);
    for replica in [&other, &blind] {
        let outcome = send(replica).await.unwrap();
        assert_eq!((outcome.duplicate, &outcome.name), (true, &second.name));
    }
    assert_eq!(cluster.records().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_request_is_followed_by_a_new_one() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    let first = send(&replica).await.unwrap();
    cluster.lock().objects.clear();
    let second = send(&replica).await.unwrap();
    assert!(!second.duplicate);
    assert_ne!(second.name, first.name);
}

#[tokio::test(start_paused = true)]
async fn without_its_namespace_a_request_stands_in_the_fallback() {
    let cluster = Cluster::default();
    cluster.lock().missing.push("shop".into());
    let replica = replica(&cluster);
    assert_eq!(send(&replica).await.unwrap().namespace, "fallback");
    assert!(send(&replica).await.unwrap().duplicate);
    assert_eq!(
        send_from(&replica, "../secrets").await.unwrap().namespace,
        "fallback"
    );
    cluster.lock().missing.push("fallback".into());
    let failure = send_from(&replica, "Other").await.unwrap_err();
    assert!(
        matches!(failure.error, Error::Refused { status: 404, .. }),
        "{failure:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_failed_can_be_sent_again() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    cluster.lock().faults = vec![Fault::Away];
    let failure = send(&replica).await.unwrap_err();
    assert!(failure.error.is_passing());
    assert!(failure.uncreated.unwrap().starts_with("rr-"));
    assert!(!send(&replica).await.unwrap().duplicate);
    cluster.lock().faults = vec![Fault::Away];
    assert_eq!(send(&replica).await.unwrap_err().uncreated, None);
    assert_eq!(
        send(&replica).await.unwrap().count,
        2,
        "what was not acknowledged is not counted"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_that_another_problem_has_is_gone_past() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    let ours = signal("shop").fingerprint();
    let name = request::name(ours, None);
    let text = ours.to_string();
    let other = Fingerprint::parse(&format!("{}{}", &text[..12], "0".repeat(52))).unwrap();
    let first = send(&replica).await.unwrap();
    assert_eq!(first.name, name);
    {
        let mut inner = cluster.lock();
        let record = inner.objects.values_mut().next().unwrap();
        record.fingerprint = other;
    }
    let blind = self::replica(&cluster);
    let second = send(&blind).await.unwrap();
    assert!(!second.duplicate);
    assert_ne!(second.name, name);
    assert!(send(&blind).await.unwrap().duplicate);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_wait_for_the_answer_is_counted_all_the_same() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    send(&replica).await.unwrap();
    let signal = signal("shop");
    let fingerprint = signal.fingerprint();
    // Polled once, so that it is handed in, and dropped.
    let mut submitted = Box::pin(replica.submit(Uuid::now_v7(), signal, fingerprint));
    assert!(futures::poll!(&mut submitted).is_pending());
    drop(submitted);
    assert_eq!(send(&replica).await.unwrap().count, 3);
}
