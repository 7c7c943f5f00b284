//! Deduplication against a cluster in memory that loses responses, rejects calls, and has other writers.

mod cluster;
mod interleavings;

use std::collections::BTreeMap;

use wire::remediation_request::{Severity, SignalType};

use self::cluster::{Cluster, Fault};
use super::*;
use crate::domain::request;
use crate::domain::signal::Distinction;
use crate::domain::target::Target;

/// One replica of the Gateway; it finds other replicas' requests only by conflicts.
fn replica(cluster: &Cluster) -> Deduplicator<Cluster, Cluster> {
    Deduplicator::new(
        cluster.as_writer(),
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
        distinction: Distinction::default(),
        firing_time: Timestamp::now(),
        received_time: Timestamp::now(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        payload: Some("{}".into()),
        truncated: Vec::new(),
    }
}

async fn send(deduplicator: &Deduplicator<Cluster, Cluster>) -> Result<Outcome, Failure> {
    send_from(deduplicator, "shop").await
}

async fn send_from(
    deduplicator: &Deduplicator<Cluster, Cluster>,
    namespace: &str,
) -> Result<Outcome, Failure> {
    let signal = signal(namespace);
    let fingerprint = signal.fingerprint();
    deduplicator.submit(Uuid::now_v7(), signal, fingerprint).await
}

/// Sends `number` identical signals at once, spread over the replicas.
async fn storm(replicas: &[Deduplicator<Cluster, Cluster>], number: usize) -> Vec<Result<Outcome, Failure>> {
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

/// Checks that exactly one of the signals created a request that counts them all.
#[track_caller]
fn assert_one_request(cluster: &Cluster, outcomes: &[Result<Outcome, Failure>], what: &str) {
    let created = outcomes
        .iter()
        .filter(|outcome| !outcome.as_ref().unwrap().duplicate)
        .count();
    let counts: Vec<i64> = cluster.records().iter().map(|record| record.count).collect();
    let signals = i64::try_from(outcomes.len()).unwrap();
    assert_eq!((created, counts), (1, vec![signals]), "{what}");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_concurrent_signals_are_one_request_and_few_writes() {
    let cluster = Cluster::default();
    let outcomes = storm(&[replica(&cluster)], 200).await;
    let mut counts: Vec<i64> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap().count)
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<_>>(), "each has its own count");
    assert_one_request(&cluster, &outcomes, "a storm");
    assert!(
        cluster.lock().writes < 20,
        "{} writes for one storm",
        cluster.lock().writes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_signals_over_three_replicas_are_one_request() {
    let cluster = Cluster::default();
    let replicas: Vec<_> = (0..3).map(|_| replica(&cluster)).collect();
    let outcomes = storm(&replicas, 1_000).await;
    assert_one_request(&cluster, &outcomes, "three replicas");
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_lost_responses_are_counted_exactly_in_a_hundred_random_runs() {
    for seed in 0..100 {
        let cluster = Cluster::default();
        cluster.lock().random = Some(fastrand::Rng::with_seed(seed));
        let outcomes = storm(&[replica(&cluster)], 50).await;
        assert_one_request(&cluster, &outcomes, &format!("seed {seed}"));
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
        assert_one_request(&cluster, &outcomes, &format!("seed {seed}"));
    }
}

#[tokio::test(start_paused = true)]
async fn ended_request_is_followed_by_exactly_one_for_all_replicas() {
    let cluster = Cluster::default();
    let (one, other, blind) = (replica(&cluster), replica(&cluster), replica(&cluster));
    let first = send(&one).await.unwrap();
    for phase in ["Pending", "Processing", "NeverHeardOf"] {
        cluster.set_phase(&cluster.records()[0], phase);
        assert!(send(&one).await.unwrap().duplicate, "{phase}");
    }
    // One and the other still regard it as active.
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
async fn deleted_request_is_followed_by_a_new_one() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    let first = send(&replica).await.unwrap();
    cluster.lock().objects.clear();
    let second = send(&replica).await.unwrap();
    assert!(!second.duplicate);
    assert_eq!(second.name, first.name, "nothing is left of the first");
}

#[tokio::test(start_paused = true)]
async fn request_of_a_missing_namespace_is_created_in_the_fallback() {
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
        matches!(failure.error, Error::Rejected { status: 404, .. }),
        "{failure:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn failed_signal_can_be_sent_again() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    cluster.lock().faults = vec![Fault::Unavailable];
    let failure = send(&replica).await.unwrap_err();
    assert!(failure.error.is_passing());
    assert!(failure.uncreated.unwrap().starts_with("rr-"));
    assert!(!send(&replica).await.unwrap().duplicate);
    cluster.lock().faults = vec![Fault::Unavailable; 4];
    assert_eq!(send(&replica).await.unwrap_err().uncreated, None);
    assert_eq!(
        send(&replica).await.unwrap().count,
        2,
        "what was not acknowledged is not counted"
    );
}

#[tokio::test(start_paused = true)]
async fn signal_that_is_sent_again_is_not_counted_on_the_request_that_it_created() {
    let cluster = Cluster::default();
    let (one, blind) = (replica(&cluster), replica(&cluster));
    let id = Uuid::now_v7();
    for replica in [&one, &one, &blind, &blind] {
        let signal = signal("shop");
        let fingerprint = signal.fingerprint();
        let outcome = replica.submit(id, signal, fingerprint).await.unwrap();
        assert_eq!((outcome.duplicate, outcome.count), (false, 1));
    }
    assert_eq!(cluster.records()[0].count, 1);
    assert_eq!(send(&one).await.unwrap().count, 2);
}

#[tokio::test(start_paused = true)]
async fn name_of_another_incident_is_skipped() {
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
async fn signal_of_a_client_that_hung_up_is_counted() {
    let cluster = Cluster::default();
    let replica = replica(&cluster);
    send(&replica).await.unwrap();
    let signal = signal("shop");
    let fingerprint = signal.fingerprint();
    // Polled once, so that it is submitted, and dropped.
    let mut submitted = Box::pin(replica.submit(Uuid::now_v7(), signal, fingerprint));
    assert!(futures::poll!(&mut submitted).is_pending());
    drop(submitted);
    assert_eq!(send(&replica).await.unwrap().count, 3);
}

#[tokio::test(start_paused = true)]
async fn request_is_announced_by_its_creator_or_before_the_first_count() {
    let cluster = Cluster::default();
    let creator = replica(&cluster);
    send(&creator).await.unwrap();
    send(&creator).await.unwrap();
    assert_eq!(cluster.lock().announced.len(), 1, "once by its creator");

    // A creator that was killed before it could write its events.
    let cluster = Cluster::default();
    send(&replica(&cluster)).await.unwrap();
    cluster.lock().announced.clear();
    let (other, third) = (replica(&cluster), replica(&cluster));
    cluster.lock().faults = vec![Fault::Unavailable];
    send(&other).await.unwrap_err();
    for replica in [&other, &other, &third] {
        send(replica).await.unwrap();
    }
    let uid = cluster.records()[0].uid.clone();
    assert_eq!(
        cluster.lock().announced,
        [uid],
        "before the first count, and once"
    );
}
