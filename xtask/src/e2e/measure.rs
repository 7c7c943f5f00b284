//! Resource use of each task's children: CPU time when they end, memory while they run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use subprocess::{
    Usage, Watch,
    proc::{self, Stat},
};
use taskgraph::Context;

use super::fault::{Moment, Trigger};

/// Names of the figures in traces and reports.
pub(crate) const CPU: &str = "cpu_seconds";
pub(crate) const MEMORY: &str = "memory_peak_bytes";

/// Interval between two samples of memory. A compiler's peak lasts seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Resource use of one task's children.
pub(crate) struct Meter {
    context: Context,
    trigger: Arc<Trigger>,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    running: BTreeSet<u32>,
    cpu: Duration,
    peak_bytes: u64,
}

impl Meter {
    pub(crate) fn new(context: &Context, trigger: &Arc<Trigger>) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            trigger: Arc::clone(trigger),
            used: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the figures into the trace; a task without children has none.
    pub(crate) fn record(&self) {
        let used = self.lock();
        if used.peak_bytes > 0 {
            self.context.measured(MEMORY, used.peak_bytes as f64);
            self.context
                .measured(CPU, (used.cpu.as_secs_f64() * 1000.0).round() / 1000.0);
        }
    }

    fn held(&self, bytes: u64) {
        let mut used = self.lock();
        used.peak_bytes = used.peak_bytes.max(bytes);
    }
}

impl Watch for Meter {
    fn started(&self, pid: u32) {
        self.lock().running.insert(pid);
        self.trigger.reached(self.context.name(), Moment::Middle);
    }

    fn ended(&self, pid: u32, usage: Usage) {
        let mut used = self.lock();
        used.running.remove(&pid);
        used.cpu += usage.cpu;
        used.peak_bytes = used.peak_bytes.max(usage.peak_bytes);
    }
}

/// Samples the memory of the running tasks' children until it is dropped. Memory that processes share is counted for
/// each of them: the sum is an upper bound, as admission needs it. Linux only; elsewhere the largest process counts.
pub(crate) struct Memory {
    meters: Arc<Mutex<Vec<Arc<Meter>>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Memory {
    pub(crate) fn start() -> Self {
        let meters: Arc<Mutex<Vec<Arc<Meter>>>> = Arc::default();
        let (stop, stopped) = channel();
        let watched = Arc::clone(&meters);
        let thread = cfg!(target_os = "linux").then(|| {
            std::thread::spawn(move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    let meters = watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    sample(&meters);
                }
            })
        });
        Self {
            meters,
            stop: Some(stop),
            thread,
        }
    }

    pub(crate) fn add(&self, meter: &Arc<Meter>) {
        self.meters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(meter));
    }

    pub(crate) fn remove(&self, meter: &Arc<Meter>) {
        self.meters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(meter, other));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the sampler does not affect the run.
            let _sampled = thread.join();
        }
    }
}

fn sample(meters: &[Arc<Meter>]) {
    let leaders: Vec<BTreeSet<u32>> = meters.iter().map(|meter| meter.lock().running.clone()).collect();
    if leaders.iter().all(BTreeSet::is_empty) {
        return;
    }
    let processes = processes();
    for (meter, leaders) in meters.iter().zip(leaders) {
        let bytes = processes
            .iter()
            .filter(|(pid, _)| descends(**pid, &leaders, &processes))
            .map(|(_, process)| process.resident_bytes)
            .sum();
        meter.held(bytes);
    }
}

/// Returns the CPU time of this process, with all threads and without children. Linux only.
pub(super) fn own_cpu() -> Option<Duration> {
    Stat::of(std::process::id()).map(|stat| stat.cpu)
}

fn descends(pid: u32, leaders: &BTreeSet<u32>, processes: &BTreeMap<u32, Stat>) -> bool {
    // A process id that is reused meanwhile could close a cycle.
    const DEEPEST: usize = 64;
    let parents = std::iter::successors(Some(pid), |pid| processes.get(pid).map(|process| process.parent));
    parents.take(DEEPEST).any(|pid| leaders.contains(&pid))
}

/// Returns all processes of this machine.
fn processes() -> BTreeMap<u32, Stat> {
    let pids = proc::pids().into_iter();
    pids.filter_map(|pid| Some((pid, Stat::of(pid)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_descendants_counts_for_the_leader() {
        let process = |parent, resident_bytes| Stat {
            parent,
            resident_bytes,
            state: 'S',
            session: 1,
            cpu: Duration::ZERO,
            start_ticks: 0,
        };
        let all = BTreeMap::from([
            (1, process(0, 1)),
            (7, process(1, 10)),
            (8, process(7, 100)),
            (9, process(1, 1000)),
        ]);
        let leaders = BTreeSet::from([7]);
        let of: Vec<u32> = all
            .keys()
            .copied()
            .filter(|pid| descends(*pid, &leaders, &all))
            .collect();
        assert_eq!(of, [7, 8]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn measures_the_memory_of_this_process() {
        let held = std::hint::black_box(vec![7_u8; 64 << 20]);
        let all = processes();
        assert!(all[&std::process::id()].resident_bytes > held.len() as u64);
    }
}
