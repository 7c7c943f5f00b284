//! Runs the selected scenarios in parallel, as far as their components allow, each with its own deadline.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::FutureExt;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::context::Context;
use super::part::Part;
use super::report::{Counts, Outcome, Report};
use super::scenario::Scenario;
use super::schedule::Schedule;
use super::{failure, readiness};
use crate::stack::Stack;

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) counts: Counts,
    pub(crate) interrupted: bool,
}

/// The result of one scenario.
struct Finished {
    scenario: Scenario,
    outcome: Outcome,
    took: Duration,
    /// Whether its components did not recover.
    broken: bool,
}

/// Runs the scenarios, at most `jobs` at once, and reports each as it ends. When `interrupted` becomes true, no
/// further scenario starts, and the running ones are cancelled and cleaned up.
pub(crate) async fn run<W: Write>(
    stack: Stack,
    scenarios: Vec<Scenario>,
    jobs: usize,
    report: &mut Report<W>,
    interrupted: watch::Receiver<bool>,
) -> Result<Ran> {
    let (began, stack) = (Instant::now(), Arc::new(stack));
    report.planned(scenarios.len())?;
    let (skipped, runnable): (Vec<_>, Vec<_>) = scenarios
        .into_iter()
        .partition(|scenario| scenario.unmet(&stack).is_some());
    for scenario in skipped {
        let reason = scenario.unmet(&stack).unwrap_or_default();
        report.finished(&scenario, &Outcome::Skipped(reason), Duration::ZERO)?;
    }
    let mut schedule = Schedule::new(runnable, jobs);
    let mut running = JoinSet::new();
    let mut broken: BTreeMap<Part, Scenario> = BTreeMap::new();
    loop {
        if *interrupted.borrow() {
            for scenario in schedule.drain() {
                report.finished(&scenario, &Outcome::Skipped("interrupted".into()), Duration::ZERO)?;
            }
        }
        while let Some(scenario) = schedule.next() {
            if let Some((part, culprit)) = broken
                .iter()
                .find(|(part, _)| scenario.parts().any(|one| one == **part))
            {
                let detail = format!("not run: {part} did not recover after {}", culprit.name);
                report.finished(&scenario, &Outcome::Failed(detail), Duration::ZERO)?;
                schedule.release(&scenario);
                continue;
            }
            report.started(&scenario)?;
            let one = (stack.clone(), scenario, interrupted.clone());
            let runtime = Handle::current();
            // One thread each: a scenario that computes must not make another one's service look slow.
            running.spawn_blocking(move || runtime.block_on(run_one(one.0, one.1, one.2)));
        }
        let Some(finished) = running.join_next().await else {
            break;
        };
        let Finished {
            scenario,
            outcome,
            took,
            broken: left_broken,
        } = finished?;
        if left_broken {
            broken.extend(scenario.alone.iter().map(|part| (*part, scenario)));
        }
        report.finished(&scenario, &outcome, took)?;
        schedule.release(&scenario);
    }
    let counts = report.summary(began.elapsed())?;
    Ok(Ran {
        counts,
        interrupted: *interrupted.borrow(),
    })
}

/// Runs one scenario to completion, and restores its components.
async fn run_one(stack: Arc<Stack>, scenario: Scenario, mut interrupted: watch::Receiver<bool>) -> Finished {
    let (began, since) = (Instant::now(), Timestamp::now());
    let context = match Context::new(stack.clone(), scenario.id()) {
        Ok(context) => context,
        Err(error) => {
            let outcome = Outcome::Failed(failure::with_causes(&error));
            return Finished {
                scenario,
                outcome,
                took: began.elapsed(),
                broken: false,
            };
        }
    };
    // A panic fails this scenario only.
    let body = AssertUnwindSafe((scenario.body)(&context)).catch_unwind();
    let failed = tokio::select! {
        ended = body => match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(failure::with_causes(&error)),
            Err(payload) => Some(failure::panicked(payload.as_ref())),
        },
        () = tokio::time::sleep(scenario.deadline) => {
            Some(format!("exceeded its deadline of {:.0?}", scenario.deadline))
        }
        _ = interrupted.wait_for(|interrupted| *interrupted) => Some(String::from("interrupted")),
    };
    let took = began.elapsed();
    // Logs first: restoring may replace the process that wrote them.
    let logs = if failed.is_some() {
        failure::log_lines(&context, &scenario, since).await
    } else {
        String::new()
    };
    let restored = restore(&stack, &context, &scenario).await;
    let broken = restored.is_err();
    let outcome = match (failed, restored) {
        (None, Ok(())) => Outcome::Passed,
        (None, Err(error)) => Outcome::Failed(format!(
            "passed, then cleanup failed: {}",
            failure::with_causes(&error)
        )),
        (Some(detail), Ok(())) => Outcome::Failed(format!("{detail}\n{logs}")),
        (Some(detail), Err(error)) => Outcome::Failed(format!(
            "{detail}\n{logs}\ncleanup failed as well: {}",
            failure::with_causes(&error)
        )),
    };
    Finished {
        scenario,
        outcome,
        took,
        broken,
    }
}

/// After a fault every component that was touched must be ready before another scenario uses it.
async fn restore(stack: &Stack, context: &Context, scenario: &Scenario) -> Result<()> {
    context.clean_up().await?;
    if scenario.alone.is_empty() {
        return Ok(());
    }
    readiness::wait_for(stack, scenario.parts()).await
}

#[cfg(test)]
mod tests;
