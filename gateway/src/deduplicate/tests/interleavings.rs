//! Replicas whose watches lag, which are restarted, and whose calls are executed late, while other services end requests
//! and users delete them: in every order, at most one request of an incident is active.

use super::cluster::Change;
use super::*;
use crate::domain::index::Index;

/// Replicas that work at once.
const REPLICAS: usize = 3;
/// Steps of a run.
const STEPS: usize = 120;
/// Turns of the scheduler between the end of a request and its deletion. A create that was decided before the end is
/// executed by then; docs/adr/0050-a-pointer-per-incident.md says why that is assumed.
const TURNS_TO_DELETION: usize = 200;

struct Replica {
    cluster: Cluster,
    deduplicator: Deduplicator<Cluster, Cluster>,
    index: Arc<Mutex<Index>>,
    /// Changes that its watch has shown.
    seen: usize,
}

impl Replica {
    /// Starts with a list of all requests.
    fn start(cluster: &Cluster) -> Self {
        let cluster = cluster.as_writer();
        let seen = cluster.lock().changes.len();
        let index = Arc::<Mutex<Index>>::default();
        for record in cluster.records() {
            lock(&index).observe(record);
        }
        Self {
            deduplicator: Deduplicator::new(
                cluster.clone(),
                cluster.clone(),
                Arc::clone(&index),
                "fallback".into(),
                Duration::from_millis(1),
            ),
            index,
            seen,
            cluster,
        }
    }

    fn watch(&mut self, changes: usize) {
        let inner = self.cluster.lock();
        for change in inner.changes.iter().skip(self.seen).take(changes) {
            self.seen += 1;
            match change.clone() {
                Change::Applied(record) => lock(&self.index).observe(self.cluster.view(&inner, record)),
                Change::Deleted(fingerprint, uid) => lock(&self.index).forget(fingerprint, &uid),
            }
        }
    }
}

async fn delete_later(cluster: Cluster, record: Record) -> i64 {
    for _ in 0..TURNS_TO_DELETION {
        tokio::task::yield_now().await;
    }
    cluster.delete(&record);
    0
}

/// What happens in a run.
#[derive(Clone, Copy)]
struct Play {
    /// Responses are lost, and other writers are first.
    faults: bool,
    /// Counts fail, executed or not.
    lost_counts: bool,
    /// Requests are deleted.
    deletions: bool,
}

/// Plays one random order; returns the number of acknowledged signals, too.
async fn play(seed: u64, play: Play) -> (Cluster, i64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Cluster::default();
    cluster.lock().random = play.faults.then(|| fastrand::Rng::with_seed(seed));
    cluster.lock().lost_counts = play.lost_counts.then(|| fastrand::Rng::with_seed(seed));
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(|_| Replica::start(&cluster)).collect();
    let (mut tasks, mut accepted) = (Vec::new(), 0);
    for _ in 0..STEPS {
        let replica = &mut replicas[random.usize(..REPLICAS)];
        let records = cluster.records();
        match random.u8(..12) {
            0..5 => {
                let deduplicator = replica.deduplicator.clone();
                tasks.push(tokio::spawn(async move {
                    i64::from(send(&deduplicator).await.is_ok())
                }));
            }
            5..7 => {
                if let Some(record) = records.iter().find(|record| record.active) {
                    cluster.set_phase(record, "Completed");
                    if play.deletions && random.bool() {
                        tasks.push(tokio::spawn(delete_later(cluster.clone(), record.clone())));
                    }
                }
            }
            7 if play.deletions => {
                if let Some(record) = random.choice(&records).filter(|record| record.active) {
                    cluster.delete(record);
                }
            }
            8 => {
                // A namespace that is created between two calls for one signal is not played.
                for task in tasks.drain(..) {
                    accepted += task.await.unwrap();
                }
                let mut inner = cluster.lock();
                if inner.missing.pop().is_none() && inner.objects.is_empty() {
                    inner.missing.push("shop".into());
                }
            }
            // Its running calls are still executed, as those of a killed process may be.
            9 => *replica = Replica::start(&cluster),
            _ => replica.watch(random.usize(..4)),
        }
        for _ in 0..random.usize(..12) {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        accepted += task.await.unwrap();
    }
    // Counts that failed are corrected when the API works again.
    cluster.lock().lost_counts = None;
    tokio::time::sleep(Duration::from_secs(10)).await;
    (cluster, accepted)
}

#[tokio::test(start_paused = true)]
async fn never_two_active_requests_in_three_hundred_random_orders() {
    for seed in 0..300 {
        let random = Play {
            faults: seed % 2 == 0,
            lost_counts: seed % 3 == 0,
            deletions: true,
        };
        let (cluster, _) = play(seed, random).await;
        let violations = cluster.lock().violations.clone();
        assert_eq!(violations, Vec::<String>::new(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_in_three_hundred_random_orders_with_lost_responses() {
    for seed in 0..300 {
        let random = Play {
            faults: seed % 2 == 0,
            lost_counts: true,
            deletions: false,
        };
        let (cluster, accepted) = play(seed, random).await;
        let counted: i64 = cluster.records().iter().map(|record| record.count).sum();
        assert_eq!(counted, accepted, "seed {seed}");
    }
}
