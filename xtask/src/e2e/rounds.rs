//! Scenarios that run again: those that failed before, several rounds, retries.

use std::{fs, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use report::{Document, FILES, Scenario, ScenarioOutcome};

use crate::run_folder::{self, RunFolder};

/// Options about which scenarios run again, and how often.
#[derive(Args, Debug)]
#[command(next_help_heading = "Run again")]
pub(super) struct Again {
    /// Run only the scenarios that failed or did not end in an earlier run [default: the newest one of this stack]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "last", require_equals = true)]
    pub(super) failed: Option<String>,
    /// Run the scenarios N times on the same stack
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: Option<u32>,
    /// End with the first round that has a failure; without --repeat after at most 1000 rounds
    #[arg(long)]
    until_failure: bool,
    /// Repeat each failed scenario up to N times; one that then passes is reported as flaky, not as passed
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20))]
    retries: u32,
    /// Mark scenarios that take longer
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    slow: Option<u64>,
}

/// How often the scenarios run.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    /// Maximum number of rounds.
    repeat: u32,
    until_failure: bool,
    /// Maximum number of repetitions of a failed scenario in a round.
    pub(super) retries: u32,
    /// Duration from which a scenario is marked.
    pub(super) slow: Option<Duration>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self {
            repeat: 1,
            until_failure: false,
            retries: 0,
            slow: None,
        }
    }
}

/// Rounds of `--until-failure` alone.
const MAX_ROUNDS: u32 = 1000;

impl Again {
    pub(super) fn rounds(&self) -> Rounds {
        Rounds {
            repeat: self
                .repeat
                .unwrap_or(if self.until_failure { MAX_ROUNDS } else { 1 }),
            until_failure: self.until_failure,
            retries: self.retries,
            slow: self.slow.map(Duration::from_secs),
        }
    }
}

impl Rounds {
    /// Maximum number of times that a scenario runs.
    pub(super) fn at_most(&self) -> u32 {
        self.repeat.saturating_mul(self.retries + 1)
    }

    /// Whether another round follows a round.
    pub(super) fn goes_on(&self, round: u32, has_failure: bool) -> bool {
        round < self.repeat && !(self.until_failure && has_failure)
    }

    /// Adds a round to what the rounds before found: the worst outcome of a scenario counts, its time is the sum.
    pub(super) fn add(&self, all: &mut Vec<Scenario>, found: Vec<Scenario>, round: u32) {
        for mut scenario in found {
            if let (true, Some(detail)) = (self.repeat > 1, &mut scenario.detail) {
                *detail = format!("in round {round}: {detail}");
            }
            match all.iter_mut().find(|known| known.name == scenario.name) {
                None => all.push(scenario),
                Some(known) => {
                    let seconds = known.seconds + scenario.seconds;
                    if rank(scenario.outcome) > rank(known.outcome) {
                        *known = scenario;
                    }
                    known.seconds = seconds;
                }
            }
        }
    }
}

fn rank(outcome: ScenarioOutcome) -> u8 {
    match outcome {
        ScenarioOutcome::Skipped => 0,
        ScenarioOutcome::Passed => 1,
        ScenarioOutcome::Flaky => 2,
        ScenarioOutcome::Failed => 3,
    }
}

/// Records a retry of failed scenarios: those that passed now are flaky, with the detail of their failure.
pub(super) fn retried(found: &mut [Scenario], again: Vec<Scenario>, attempt: u32) {
    for retry in again {
        let Some(known) = found.iter_mut().find(|known| known.name == retry.name) else {
            continue;
        };
        known.seconds += retry.seconds;
        if retry.outcome == ScenarioOutcome::Passed {
            let detail = known.detail.take().unwrap_or_default();
            known.outcome = ScenarioOutcome::Flaky;
            known.detail = Some(format!("passed at retry {attempt}; before: {detail}"));
        }
    }
}

/// Returns the names of the scenarios that failed or did not end in a run of the stack; none if no scenario ran in it, so
/// that all run.
pub(super) fn failed(run: &str, stack: &str) -> anyhow::Result<Vec<String>> {
    let runs = RunFolder::list(&run_folder::runs(), &run_folder::index());
    let with_report = |folder: &&RunFolder| {
        folder.owner().stack == stack
            && folder.path().join(FILES.report).is_file()
            && (run == "last" || run == folder.run())
    };
    let folder = runs.iter().rev().find(with_report).with_context(|| match run {
        "last" => format!("--failed: no run of stack {stack} has a report"),
        run => format!("--failed: no run {run} of stack {stack} has a report"),
    })?;
    let report = folder.path().join(FILES.report);
    let text = fs::read(&report).with_context(|| format!("cannot read {}", report.display()))?;
    let document: Document =
        serde_json::from_slice(&text).with_context(|| format!("invalid report {}", report.display()))?;
    let tests = document.tests;
    let is_done = |test: &&Scenario| match test.outcome {
        ScenarioOutcome::Passed => true,
        ScenarioOutcome::Skipped => test.reason.as_deref() != Some(INTERRUPTED),
        ScenarioOutcome::Failed | ScenarioOutcome::Flaky => false,
    };
    if !tests.is_empty() && tests.iter().all(|test| is_done(&test)) {
        bail!("--failed: no scenario failed in run {}", folder.run());
    }
    let failed = tests.iter().filter(|test| !is_done(test));
    Ok(failed.map(|test| test.name.clone()).collect())
}

/// Reason of a scenario that did not start because the run was interrupted.
const INTERRUPTED: &str = "interrupted";

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(name: &str, outcome: ScenarioOutcome) -> Scenario {
        Scenario {
            id: name.to_owned(),
            name: name.to_owned(),
            outcome,
            seconds: 1.0,
            reason: None,
            detail: (outcome == ScenarioOutcome::Failed).then(|| "expected 1, found 2".to_owned()),
        }
    }

    #[test]
    fn worst_outcome_of_all_rounds_counts() {
        let rounds = Rounds {
            repeat: 3,
            ..Rounds::default()
        };
        let mut all = Vec::new();
        for (round, outcome) in [
            (1, ScenarioOutcome::Passed),
            (2, ScenarioOutcome::Failed),
            (3, ScenarioOutcome::Passed),
        ] {
            rounds.add(&mut all, vec![scenario("g01", outcome)], round);
        }
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].outcome, all[0].seconds), (ScenarioOutcome::Failed, 3.0));
        assert_eq!(all[0].detail.as_deref(), Some("in round 2: expected 1, found 2"));
    }

    #[test]
    fn scenario_that_passes_at_a_retry_is_flaky_and_never_passed() {
        let mut found = vec![
            scenario("g01", ScenarioOutcome::Failed),
            scenario("g02", ScenarioOutcome::Failed),
        ];
        let again = [
            scenario("g01", ScenarioOutcome::Passed),
            scenario("g02", ScenarioOutcome::Failed),
        ];
        retried(&mut found, again.to_vec(), 1);
        assert_eq!(found[0].outcome, ScenarioOutcome::Flaky);
        assert_eq!(
            found[0].detail.as_deref(),
            Some("passed at retry 1; before: expected 1, found 2")
        );
        assert_eq!(found[1].outcome, ScenarioOutcome::Failed);
    }

    #[test]
    fn rounds_end_by_number_or_failure() {
        let until_failure = Rounds {
            repeat: MAX_ROUNDS,
            until_failure: true,
            ..Rounds::default()
        };
        assert!(until_failure.goes_on(1, false) && !until_failure.goes_on(2, true));
        assert!(!until_failure.goes_on(MAX_ROUNDS, false));
        assert!(!Rounds::default().goes_on(1, false));
    }
}
