//! junit.xml: the scenarios, and the tasks that brought the stack up, for CI systems.

use std::time::Duration;

use junit::{Case, Suite, Suites};
use taskgraph::{Outcome, TaskTrace};

use crate::model::{Report, Scenario, ScenarioOutcome};

/// Two suites: `scenarios`, and `tasks`, so that a run without scenarios is not an empty success.
pub(crate) fn render(report: &Report) -> String {
    let scenarios = report.tests.iter().map(|test| scenario(report, test)).collect();
    let tasks = report.trace.tasks.iter().map(|traced| task(report, traced));
    let suites = [
        Suite {
            time: Some(report.tests.iter().map(|test| duration(test.seconds)).sum()),
            ..Suite::new("scenarios", scenarios)
        },
        Suite {
            time: Some(report.trace.wall),
            ..Suite::new("tasks", tasks.collect())
        },
    ];
    let suites = Suites {
        name: format!("{} e2e on {}", report.run.stack, report.run.provider),
        time: Some(report.trace.wall),
        suites: suites.into(),
    };
    suites.to_xml()
}

fn scenario(report: &Report, test: &Scenario) -> Case {
    let outcome = match test.outcome {
        ScenarioOutcome::Passed => junit::Outcome::Passed,
        ScenarioOutcome::Flaky => flaky(test.detail.as_deref().unwrap_or("no detail given")),
        ScenarioOutcome::Skipped => skipped(test.reason.as_deref().unwrap_or("no reason given")),
        ScenarioOutcome::Failed => failed(test.detail.as_deref().unwrap_or("no detail given")),
    };
    Case {
        time: Some(duration(test.seconds)),
        outcome,
        ..Case::new(format!("{}.scenarios", report.run.provider), &test.name)
    }
}

fn task(report: &Report, traced: &TaskTrace) -> Case {
    let outcome = match &traced.outcome {
        Outcome::Done { .. } => junit::Outcome::Passed,
        Outcome::Failed { error, .. } => {
            let explained = report.failures.iter().find(|failure| failure.task == traced.name);
            failed(explained.map_or(error, |failure| &failure.text))
        }
        Outcome::Skipped { reason } => skipped(reason),
        Outcome::Cancelled { cause, .. } => skipped(&format!("cancelled: {cause}")),
        Outcome::NotStarted { cause } => skipped(&format!("not started: {cause}")),
    };
    Case {
        time: Some(traced.duration()),
        outcome,
        ..Case::new(format!("{}.tasks", report.run.provider), &traced.name)
    }
}

fn skipped(reason: &str) -> junit::Outcome {
    junit::Outcome::Skipped {
        message: reason.to_owned(),
    }
}

fn failed(text: &str) -> junit::Outcome {
    junit::Outcome::Failed {
        kind: None,
        message: first_line(text),
        text: text.to_owned(),
    }
}

fn flaky(text: &str) -> junit::Outcome {
    junit::Outcome::Flaky {
        message: first_line(text),
        text: text.to_owned(),
    }
}

fn first_line(text: &str) -> String {
    let first = text.lines().find(|line| !line.trim().is_empty());
    first.unwrap_or_default().to_owned()
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
