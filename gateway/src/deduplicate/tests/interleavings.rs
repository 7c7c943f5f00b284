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
    deduplicator: Deduplicator<Cluster, Cluster>,
    index: Arc<Mutex<Index>>,
    /// Changes that its watch has shown.
    seen: usize,
}

impl Replica {
    /// Starts with a list of all requests.
    fn start(cluster: &Cluster) -> Self {
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
            seen: cluster.lock().changes.len(),
        }
    }

    fn watch(&mut self, cluster: &Cluster, changes: usize) {
        let inner = cluster.lock();
        for change in inner.changes.iter().skip(self.seen).take(changes) {
            self.seen += 1;
            match change.clone() {
                Change::Applied(record) => lock(&self.index).observe(record),
                Change::Deleted(fingerprint, uid) => lock(&self.index).forget(fingerprint, &uid),
            }
        }
    }
}

async fn delete_later(cluster: Cluster, record: Record) {
    for _ in 0..TURNS_TO_DELETION {
        tokio::task::yield_now().await;
    }
    cluster.delete(&record);
}

/// Plays one random order.
async fn play(seed: u64, faults: bool) -> Cluster {
    let mut random = fastrand::Rng::with_seed(seed);
    let cluster = Cluster::default();
    cluster.lock().random = faults.then(|| fastrand::Rng::with_seed(seed));
    let mut replicas: Vec<Replica> = (0..REPLICAS).map(|_| Replica::start(&cluster)).collect();
    let mut tasks = Vec::new();
    for _ in 0..STEPS {
        let replica = &mut replicas[random.usize(..REPLICAS)];
        let records = cluster.records();
        match random.u8(..12) {
            0..5 => {
                let deduplicator = replica.deduplicator.clone();
                tasks.push(tokio::spawn(async move {
                    let _ = send(&deduplicator).await;
                }));
            }
            5..7 => {
                if let Some(record) = records.iter().find(|record| record.active) {
                    cluster.set_phase(record, "Completed");
                    if random.bool() {
                        tasks.push(tokio::spawn(delete_later(cluster.clone(), record.clone())));
                    }
                }
            }
            7 => {
                if let Some(record) = random.choice(&records).filter(|record| record.active) {
                    cluster.delete(record);
                }
            }
            8 => {
                // A namespace that is created between two calls for one signal is not played.
                for task in tasks.drain(..) {
                    task.await.unwrap();
                }
                let mut inner = cluster.lock();
                if inner.missing.pop().is_none() && inner.objects.is_empty() {
                    inner.missing.push("shop".into());
                }
            }
            // Its running calls are still executed, as those of a killed process may be.
            9 => *replica = Replica::start(&cluster),
            _ => replica.watch(&cluster, random.usize(..4)),
        }
        for _ in 0..random.usize(..12) {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn never_two_active_requests_in_three_hundred_random_orders() {
    for seed in 0..300 {
        let cluster = play(seed, seed % 2 == 0).await;
        let violations = cluster.lock().violations.clone();
        assert_eq!(violations, Vec::<String>::new(), "seed {seed}");
    }
}
