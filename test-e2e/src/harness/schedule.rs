//! Selects the next scenario to start: the longest one whose components are free.
//!
//! One scheduler instead of a lock per component: a waiting scenario holds no component and no job slot, so there
//! is no lock order to violate and no deadlock.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::part::Part;
use super::scenario::Scenario;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Shared(usize),
    Alone,
}

/// The waiting scenarios, and the components in use.
#[derive(Debug)]
pub(crate) struct Schedule {
    waiting: Vec<Scenario>,
    held: BTreeMap<Part, Hold>,
    running: usize,
    jobs: usize,
}

impl Schedule {
    /// Queues the scenarios for at most `jobs` at once.
    pub(crate) fn new(mut scenarios: Vec<Scenario>, jobs: usize) -> Self {
        scenarios.sort_by_key(|scenario| {
            (
                Reverse(scenario.estimate),
                scenario.alone.is_empty(),
                scenario.name,
            )
        });
        Self {
            waiting: scenarios,
            held: BTreeMap::new(),
            running: 0,
            jobs: jobs.max(1),
        }
    }

    /// Removes the next scenario that may start, and holds its components until [`Self::release`].
    pub(crate) fn next(&mut self) -> Option<Scenario> {
        if self.running >= self.jobs {
            return None;
        }
        let next = self.waiting.iter().position(|scenario| self.is_free(scenario))?;
        let scenario = self.waiting.remove(next);
        self.running += 1;
        for part in scenario.alone {
            self.held.insert(*part, Hold::Alone);
        }
        for part in scenario
            .shares
            .iter()
            .filter(|part| !scenario.alone.contains(part))
        {
            let sharing = match self.held.get(part) {
                Some(Hold::Shared(sharing)) => *sharing,
                _ => 0,
            };
            self.held.insert(*part, Hold::Shared(sharing + 1));
        }
        Some(scenario)
    }

    /// Releases the components of a scenario that has ended.
    pub(crate) fn release(&mut self, scenario: &Scenario) {
        self.running = self.running.saturating_sub(1);
        for part in scenario.parts() {
            match self.held.get(&part) {
                Some(Hold::Shared(sharing)) if *sharing > 1 => {
                    self.held.insert(part, Hold::Shared(sharing - 1));
                }
                _ => {
                    self.held.remove(&part);
                }
            }
        }
    }

    /// Removes all scenarios that have not started.
    pub(crate) fn drain(&mut self) -> Vec<Scenario> {
        std::mem::take(&mut self.waiting)
    }

    fn is_free(&self, scenario: &Scenario) -> bool {
        scenario.alone.iter().all(|part| !self.held.contains_key(part))
            && scenario
                .shares
                .iter()
                .all(|part| self.held.get(part) != Some(&Hold::Alone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::part::Part::{DataStorage, Gateway, PostgreSql, Redis};

    fn scenario(name: &'static str, estimate: u64) -> Scenario {
        Scenario::new(name, |_| Box::pin(async { Ok(()) })).takes(estimate, 60)
    }

    fn started(schedule: &mut Schedule) -> Vec<&'static str> {
        std::iter::from_fn(|| schedule.next())
            .map(|scenario| scenario.name)
            .collect()
    }

    #[test]
    fn sharing_scenarios_run_in_parallel_longest_first() {
        let mut schedule = Schedule::new(
            vec![
                scenario("a", 1).shares(&[Gateway]),
                scenario("b", 9).shares(&[Gateway]),
                scenario("c", 5),
            ],
            8,
        );
        assert_eq!(started(&mut schedule), ["b", "c", "a"]);
    }

    #[test]
    fn exclusive_component_is_not_shared() {
        let fault = scenario("fault", 30).shares(&[DataStorage]).alone(&[PostgreSql]);
        let reader = scenario("reader", 1).shares(&[DataStorage, PostgreSql]);
        let gateway = scenario("gateway", 1).shares(&[Gateway]);
        let mut schedule = Schedule::new(vec![reader, gateway, fault], 8);
        assert_eq!(started(&mut schedule), ["fault", "gateway"]);
        schedule.release(&fault);
        assert_eq!(started(&mut schedule), ["reader"]);
    }

    #[test]
    fn exclusive_use_waits_for_the_last_sharing_scenario() {
        let (first, second) = (
            scenario("a", 2).shares(&[Redis]),
            scenario("b", 1).shares(&[Redis]),
        );
        let mut schedule = Schedule::new(vec![first, second], 8);
        assert_eq!(started(&mut schedule).len(), 2);
        schedule.waiting.push(scenario("fault", 1).alone(&[Redis]));
        assert!(started(&mut schedule).is_empty());
        schedule.release(&first);
        assert!(started(&mut schedule).is_empty(), "the second still shares it");
        schedule.release(&second);
        assert_eq!(started(&mut schedule), ["fault"]);
    }

    #[test]
    fn faults_on_one_component_are_sequential_and_on_different_ones_parallel() {
        let faults = [
            scenario("p1", 9).alone(&[PostgreSql]),
            scenario("p2", 8).alone(&[PostgreSql, Redis]),
        ];
        let mut schedule = Schedule::new(vec![faults[0], faults[1], scenario("g", 1).alone(&[Gateway])], 8);
        assert_eq!(started(&mut schedule), ["p1", "g"]);
        schedule.release(&faults[0]);
        assert_eq!(started(&mut schedule), ["p2"]);
    }

    #[test]
    fn never_exceeds_jobs_and_runs_everything_once() {
        let names = ["a", "b", "c", "d", "e"];
        let mut schedule = Schedule::new(names.iter().map(|name| scenario(name, 1)).collect(), 2);
        let mut ended = Vec::new();
        let mut running = Vec::new();
        loop {
            running.extend(std::iter::from_fn(|| schedule.next()));
            assert!(running.len() <= 2);
            let Some(one) = running.pop() else { break };
            schedule.release(&one);
            ended.push(one.name);
        }
        ended.sort_unstable();
        assert_eq!(ended, names);
    }

    #[test]
    fn scenario_that_shares_and_holds_a_component_releases_it() {
        let both = scenario("both", 1).shares(&[Gateway]).alone(&[Gateway]);
        let mut schedule = Schedule::new(vec![both], 8);
        assert_eq!(started(&mut schedule), ["both"]);
        schedule.release(&both);
        assert!(schedule.held.is_empty());
    }
}
