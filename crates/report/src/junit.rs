//! junit.xml: the scenarios, and the tasks that brought the stack up, for CI systems.

use std::time::Duration;

use anyhow::Context;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use taskgraph::{Outcome, TaskTrace};

use crate::model::{Report, Test, TestOutcome};

/// Two suites: `scenarios`, and `tasks`, so that a run that never came to its scenarios is not an empty success.
pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    let mut scenarios = TestSuite::new("scenarios");
    scenarios.add_test_cases(report.tests.iter().map(|test| scenario(report, test)));
    scenarios.set_time(report.tests.iter().map(|test| duration(test.seconds)).sum());
    let mut tasks = TestSuite::new("tasks");
    tasks.add_test_cases(report.trace.tasks.iter().map(|traced| task(report, traced)));
    tasks.set_time(report.trace.wall);
    let mut junit = quick_junit::Report::new(format!("{} e2e on {}", report.run.stack, report.run.provider));
    junit.set_time(report.trace.wall);
    junit.add_test_suites([scenarios, tasks]);
    junit.to_string().context("write junit.xml")
}

fn scenario(report: &Report, test: &Test) -> TestCase {
    let status = match test.outcome {
        TestOutcome::Passed => TestCaseStatus::success(),
        TestOutcome::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(test.reason.as_deref().unwrap_or("no reason given"));
            status
        }
        TestOutcome::Failed => failed(test.detail.as_deref().unwrap_or("no detail given")),
    };
    let mut case = TestCase::new(test.name.as_str(), status);
    case.set_classname(format!("{}.scenarios", report.run.provider));
    case.set_time(duration(test.seconds));
    case
}

fn task(report: &Report, traced: &TaskTrace) -> TestCase {
    let status = match &traced.outcome {
        Outcome::Done { .. } => TestCaseStatus::success(),
        Outcome::Failed { error, .. } => {
            let explained = report.failures.iter().find(|failure| failure.task == traced.name);
            failed(explained.map_or(error, |failure| &failure.text))
        }
        Outcome::Skipped { reason } => skipped(reason.clone()),
        Outcome::Cancelled { cause, .. } => skipped(format!("cancelled: {cause}")),
        Outcome::NotStarted { cause } => skipped(format!("not started: {cause}")),
    };
    let mut case = TestCase::new(traced.name.as_str(), status);
    case.set_classname(format!("{}.tasks", report.run.provider));
    case.set_time(traced.duration());
    case
}

fn failed(text: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(
        text.lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default(),
    );
    status.set_description(text);
    status
}

fn skipped(reason: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    status
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
