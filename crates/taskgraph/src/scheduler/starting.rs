//! Selects the tasks to start: the most urgent first; a less urgent one only where it delays none.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Scheduler, Status};
use crate::event::What;

/// A more urgent task waits for these resources, which should be free at this time.
struct Reservation {
    resources: BTreeSet<usize>,
    at: Duration,
}

impl Scheduler<'_> {
    /// Visits the ready tasks, most urgent first. One that lacks a resource reserves it: others may use
    /// it only if, by their estimate, they release it before it is due ("EASY backfilling"). Otherwise many
    /// small tasks could keep a big one, and with it the longest chain, waiting until the end.
    pub(super) fn start_what_fits(&mut self, now: Duration, ended: Option<usize>) {
        let mut reservations: Vec<Reservation> = Vec::new();
        for id in self.ready.iter().map(|&(_, id)| id).collect::<Vec<_>>() {
            let lacking = self.lacking(id);
            let kept: BTreeSet<usize> = if self.running >= self.max_running {
                BTreeSet::new()
            } else if !lacking.is_empty() {
                reservations.push(Reservation {
                    at: self.available_at(&lacking, id, now),
                    resources: lacking.clone(),
                });
                lacking
            } else {
                let kept = self.kept(id, &reservations, now);
                if kept.is_empty() {
                    self.tasks[id].record.freed_by = ended;
                    self.start(id, now);
                    continue;
                }
                kept
            };
            self.hold(id, &kept, now);
        }
    }

    /// Resources of which less is free than the task needs.
    fn lacking(&self, id: usize) -> BTreeSet<usize> {
        let needs = self.shape.nodes[id].needs.iter();
        needs
            .filter(|&&(resource, amount)| self.free[resource] < amount)
            .map(|&(resource, _)| resource)
            .collect()
    }

    /// Resources that the task would take from a more urgent one.
    fn kept(&self, id: usize, reservations: &[Reservation], now: Duration) -> BTreeSet<usize> {
        let node = &self.shape.nodes[id];
        let end = now.saturating_add(node.estimate);
        reservations
            .iter()
            .filter(|reservation| end > reservation.at)
            .flat_map(|reservation| {
                node.needs
                    .iter()
                    .map(|need| need.0)
                    .filter(|need| reservation.resources.contains(need))
            })
            .collect()
    }

    /// When, by the estimates of running tasks, enough of these resources will be free.
    fn available_at(&self, resources: &BTreeSet<usize>, id: usize, now: Duration) -> Duration {
        let mut ends: Vec<(Duration, usize)> = (0..self.tasks.len())
            .filter(|&other| self.tasks[other].status == Status::Running)
            .map(|other| {
                let start = self.tasks[other].record.start.unwrap_or_default();
                (
                    start.saturating_add(self.shape.nodes[other].estimate).max(now),
                    other,
                )
            })
            .collect();
        ends.sort_unstable();
        let mut free = self.free.clone();
        for (end, other) in ends {
            for &(resource, amount) in &self.shape.nodes[other].needs {
                free[resource] += amount;
            }
            let needs = &self.shape.nodes[id].needs;
            if needs
                .iter()
                .all(|(resource, amount)| !resources.contains(resource) || free[*resource] >= *amount)
            {
                return end;
            }
        }
        now
    }

    /// Records, and reports if it is new, what a ready task waits for.
    fn hold(&mut self, id: usize, resources: &BTreeSet<usize>, now: Duration) {
        let names = self.names(resources);
        if self.tasks[id].record.held.as_ref() != Some(&names) {
            self.tasks[id].record.held = Some(names.clone());
            self.notify(now, id, What::Waiting { resources: names });
        }
    }
}
