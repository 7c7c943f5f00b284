//! Runs the selected scenarios: as many beside each other as their parts allow, each with its own deadline.

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

/// How a run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) counts: Counts,
    pub(crate) interrupted: bool,
}

/// One scenario's end.
struct Finished {
    scenario: Scenario,
    outcome: Outcome,
    took: Duration,
    /// Parts that did not come back after it.
    broken: bool,
}

/// Runs the scenarios, at most `jobs` at once, and reports each as it ends. When `interrupted` becomes true, nothing
/// more starts and what runs is given up and put right.
pub(crate) async fn run<W: Write>(
    stack: Stack,
    scenarios: Vec<Scenario>,
    jobs: usize,
    report: &mut Report<W>,
    interrupted: watch::Receiver<bool>,
) -> Result<Ran> {
    let (began, stack) = (Instant::now(), Arc::new(stack));
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
                let detail = format!("not run: {part} did not come back after {}", culprit.name);
                report.finished(&scenario, &Outcome::Failed(detail), Duration::ZERO)?;
                schedule.release(&scenario);
                continue;
            }
            report.started(&scenario)?;
            let one = (stack.clone(), scenario, interrupted.clone());
            let runtime = Handle::current();
            // A thread each: one that computes for long must not look to another like a service that is slow.
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

/// Runs one scenario to its end, and leaves its parts as it found them.
async fn run_one(stack: Arc<Stack>, scenario: Scenario, mut interrupted: watch::Receiver<bool>) -> Finished {
    let (began, since) = (Instant::now(), Timestamp::now());
    let context = match Context::new(stack.clone(), scenario.id()) {
        Ok(context) => context,
        Err(error) => {
            let outcome = Outcome::Failed(failure::told(&error));
            return Finished {
                scenario,
                outcome,
                took: began.elapsed(),
                broken: false,
            };
        }
    };
    // A panic ends the scenario and nothing else.
    let body = AssertUnwindSafe((scenario.body)(&context)).catch_unwind();
    let failed = tokio::select! {
        ended = body => match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(failure::told(&error)),
            Err(payload) => Some(failure::panicked(payload.as_ref())),
        },
        () = tokio::time::sleep(scenario.deadline) => {
            Some(format!("not done after its deadline of {:.0?}", scenario.deadline))
        }
        _ = interrupted.wait_for(|interrupted| *interrupted) => Some(String::from("interrupted")),
    };
    let took = began.elapsed();
    // The logs first: putting right may replace the very process that wrote them.
    let logs = if failed.is_some() {
        failure::log_lines(&context, &scenario, since).await
    } else {
        String::new()
    };
    let restored = restore(&stack, &context, &scenario).await;
    let broken = restored.is_err();
    let outcome = match (failed, restored) {
        (None, Ok(())) => Outcome::Passed,
        (None, Err(error)) => Outcome::Failed(format!("after it passed: {}", failure::told(&error))),
        (Some(detail), Ok(())) => Outcome::Failed(format!("{detail}\n{logs}")),
        (Some(detail), Err(error)) => Outcome::Failed(format!(
            "{detail}\n{logs}\nand afterwards: {}",
            failure::told(&error)
        )),
    };
    Finished {
        scenario,
        outcome,
        took,
        broken,
    }
}

/// After a fault every part that was touched must be whole before another scenario gets it.
async fn restore(stack: &Stack, context: &Context, scenario: &Scenario) -> Result<()> {
    context.clean_up().await?;
    if scenario.alone.is_empty() {
        return Ok(());
    }
    readiness::wait_for(stack, scenario.parts()).await
}

#[cfg(test)]
mod tests;
