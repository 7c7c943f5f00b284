//! junit.xml: the scenarios, and the tasks that brought the stack up, for CI systems.

use std::time::Duration;

use serde::Serialize;
use taskgraph::{Outcome, TaskTrace};

use crate::model::{Report, Scenario, ScenarioOutcome};
use crate::template;

/// What the template is filled with.
#[derive(Serialize)]
struct Junit {
    name: String,
    tests: usize,
    failures: usize,
    time: String,
    suites: [Suite; 2],
}

#[derive(Serialize)]
struct Suite {
    name: &'static str,
    failures: usize,
    skipped: usize,
    time: String,
    cases: Vec<Case>,
}

#[derive(Serialize)]
struct Case {
    name: String,
    class: String,
    time: String,
    /// In one line, how it failed or why it was skipped; nothing where it passed.
    message: Option<String>,
    /// How it failed.
    failure: Option<String>,
}

/// How a case ended.
enum Status {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Two suites: `scenarios`, and `tasks`, so that a run that never came to its scenarios is not an empty success.
pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    let scenarios = report.tests.iter().map(|test| scenario(report, test)).collect();
    let tasks = report.trace.tasks.iter();
    let tasks = tasks.map(|traced| task(report, traced)).collect();
    let suites = [
        suite(
            "scenarios",
            report.tests.iter().map(|test| duration(test.seconds)).sum(),
            scenarios,
        ),
        suite("tasks", report.trace.wall, tasks),
    ];
    let junit = Junit {
        name: allowed(&format!("{} e2e on {}", report.run.stack, report.run.provider)),
        tests: suites.iter().map(|suite| suite.cases.len()).sum(),
        failures: suites.iter().map(|suite| suite.failures).sum(),
        time: seconds(report.trace.wall),
        suites,
    };
    template::render("junit.xml", &junit)
}

fn suite(name: &'static str, time: Duration, cases: Vec<Case>) -> Suite {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let messages = cases.iter().filter(|case| case.message.is_some()).count();
    Suite {
        name,
        failures,
        skipped: messages - failures,
        time: seconds(time),
        cases,
    }
}

fn scenario(report: &Report, test: &Scenario) -> Case {
    let told = |text: &Option<String>, otherwise: &str| text.clone().unwrap_or_else(|| otherwise.to_owned());
    let status = match test.outcome {
        ScenarioOutcome::Passed => Status::Passed,
        ScenarioOutcome::Skipped => Status::Skipped(told(&test.reason, "no reason given")),
        ScenarioOutcome::Failed => Status::Failed(told(&test.detail, "no detail given")),
    };
    let class = format!("{}.scenarios", report.run.provider);
    case(&test.name, class, duration(test.seconds), status)
}

fn task(report: &Report, traced: &TaskTrace) -> Case {
    let status = match &traced.outcome {
        Outcome::Done { .. } => Status::Passed,
        Outcome::Failed { error, .. } => {
            let explained = report.failures.iter().find(|failure| failure.task == traced.name);
            Status::Failed(explained.map_or(error, |failure| &failure.text).clone())
        }
        Outcome::Skipped { reason } => Status::Skipped(reason.clone()),
        Outcome::Cancelled { cause, .. } => Status::Skipped(format!("cancelled: {cause}")),
        Outcome::NotStarted { cause } => Status::Skipped(format!("not started: {cause}")),
    };
    let class = format!("{}.tasks", report.run.provider);
    case(&traced.name, class, traced.duration(), status)
}

fn case(name: &str, class: String, time: Duration, status: Status) -> Case {
    let (message, failure) = match status {
        Status::Passed => (None, None),
        Status::Skipped(reason) => (Some(allowed(&reason)), None),
        Status::Failed(text) => {
            let first = text.lines().find(|line| !line.trim().is_empty());
            (Some(allowed(first.unwrap_or_default())), Some(allowed(&text)))
        }
    };
    Case {
        name: allowed(name),
        class: allowed(&class),
        time: seconds(time),
        message,
        failure,
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The text without what XML 1.0 does not allow, and without the colours of a terminal: a CI system shows neither.
fn allowed(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // `ESC [`, parameters, and a letter that ends the sequence.
            '\u{1b}' if letters.as_str().starts_with('[') => {
                letters.next();
                letters.find(|letter| ('@'..='~').contains(letter));
            }
            '\n' | '\t' => kept.push(letter),
            '\u{fffe}' | '\u{ffff}' => {}
            _ if letter.is_control() => {}
            _ => kept.push(letter),
        }
    }
    kept
}
