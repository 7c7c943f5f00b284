//! Load of the machine during a run.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sysinfo::System;

use crate::model::{Machine, Sample};

impl Machine {
    /// Returns this machine. Memory is the limit of the control group, if there is one.
    pub fn this() -> Self {
        let mut system = System::new();
        system.refresh_memory();
        let limit = system
            .cgroup_limits()
            .map(|limits| limits.total_memory)
            .filter(|limit| *limit > 0);
        let whole = system.total_memory();
        Self {
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: limit.map_or(whole, |limit| limit.min(whole)),
        }
    }
}

/// Measures CPU and memory of the machine in the background until it is finished or dropped.
pub struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Starts to measure once per `interval`. 500 ms is enough for a chart and costs next to nothing.
    pub fn start(interval: Duration) -> Self {
        let interval = interval.max(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL);
        let (stop, stopped) = channel();
        let origin = Instant::now();
        let thread = std::thread::spawn(move || {
            let mut system = System::new();
            let mut samples = Vec::new();
            // The first measurement is only the reference of the next one.
            system.refresh_cpu_usage();
            loop {
                let stopped = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
                system.refresh_cpu_usage();
                system.refresh_memory();
                samples.push(Sample {
                    at: (origin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
                    cpus: busy(&system),
                    memory_bytes: system.used_memory(),
                });
                if stopped {
                    return samples;
                }
            }
        });
        Self { stop, thread }
    }

    /// Takes a last sample and returns all samples.
    pub fn finish(self) -> Vec<Sample> {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

fn busy(system: &System) -> f64 {
    let per_cent: f32 = system.cpus().iter().map(sysinfo::Cpu::cpu_usage).sum();
    f64::from(per_cent.round()) / 100.0
}
