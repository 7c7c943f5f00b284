//! Summary of a run in the terminal. The first failure is nearest to the prompt.

use std::fmt::Write;

use taskgraph::Outcome;

use crate::analysis::Analysis;
use crate::model::{Report, Scenario, ScenarioOutcome};
use crate::page::if_free_in_words;
use crate::words::{self, printable};
use crate::{compare, timeline};

/// Returns the summary as plain text: the most expensive links of the bounding chain, the forecast without the most
/// expensive one, the comparison with earlier runs; then tasks that did not start, were cancelled and failed, the first
/// failure last. Ends with a line end.
pub fn summary(report: &Report) -> String {
    let analysis = Analysis::new(&report.trace);
    let mut text = String::new();
    chain(&mut text, &analysis);
    if let Some(verdict) = compare::verdict(report) {
        line(&mut text, &format!("This run was {verdict}."));
    }
    skipped_tests(&mut text, report);
    flaky_tests(&mut text, report);
    without_result(&mut text, report);
    failed_tests(&mut text, report);
    for failure in report.failures.iter().rev() {
        line(
            &mut text,
            &format!("\n{} failed: {}", failure.task, failure.text.trim_end()),
        );
    }
    if !report.failures.is_empty() {
        text.push('\n');
    }
    let run = &report.run;
    let kept = if run.kept {
        format!(
            "; the stack is still up, `{} down {}` removes it",
            run.program(),
            run.id
        )
    } else {
        String::new()
    };
    line(
        &mut text,
        &format!(
            "run {} on {}, order {}: {} in {}; {}{kept}",
            run.id,
            run.provider,
            run.order,
            run.result.as_str(),
            words::span(report.trace.wall),
            timeline::tests_in_words(report)
        ),
    );
    text
}

/// Links of the bounding chain in the summary; the page has all of them.
const LINKS: usize = 5;

/// Writes the most expensive links of the bounding chain, in their order, in one line.
fn chain(text: &mut String, analysis: &Analysis) {
    let mut costs: Vec<_> = analysis.bounding.iter().map(|link| link.cost()).collect();
    costs.sort_unstable_by(|one, other| other.cmp(one));
    let Some(least) = costs.get(LINKS - 1).or(costs.last()) else {
        return;
    };
    let links: Vec<String> = analysis
        .bounding
        .iter()
        .filter(|link| link.cost() >= *least)
        .take(LINKS)
        .map(|link| format!("{} {}", link.task, words::span(link.cost())))
        .collect();
    let free = if_free_in_words(analysis).map_or(String::new(), |free| format!(". {free}"));
    line(
        text,
        &format!("The run was bounded by {}{free}.", links.join(", ")),
    );
}

fn skipped_tests(text: &mut String, report: &Report) {
    for test in report
        .tests
        .iter()
        .filter(|test| test.outcome == ScenarioOutcome::Skipped)
    {
        line(
            text,
            &format!(
                "skipped {}: {}",
                test.name,
                test.reason.as_deref().unwrap_or("no reason given")
            ),
        );
    }
}

fn flaky_tests(text: &mut String, report: &Report) {
    let flaky = |test: &&Scenario| test.outcome == ScenarioOutcome::Flaky;
    for test in report.tests.iter().filter(flaky) {
        let detail = test.detail.as_deref().unwrap_or("no detail given");
        let first = detail.lines().next().unwrap_or_default();
        line(text, &format!("flaky {}: {first}", test.name));
    }
}

fn failed_tests(text: &mut String, report: &Report) {
    for test in report
        .tests
        .iter()
        .filter(|test| test.outcome == ScenarioOutcome::Failed)
    {
        let detail = test
            .detail
            .as_deref()
            .unwrap_or("no detail given")
            .trim_end()
            .replace('\n', "\n  ");
        line(
            text,
            &format!(
                "\nscenario {} failed after {}\n  {detail}",
                test.name,
                words::duration(test.seconds)
            ),
        );
    }
}

/// Cancelled tasks and those that did not start, grouped by cause: a failed compile must not fill the screen.
fn without_result(text: &mut String, report: &Report) {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for task in &report.trace.tasks {
        let heading = match &task.outcome {
            Outcome::Cancelled { cause, .. } => format!("cancelled ({cause})"),
            Outcome::NotStarted { cause } => format!("not started ({cause})"),
            _ => continue,
        };
        match groups.iter_mut().find(|group| group.0 == heading) {
            Some(group) => group.1.push(&task.name),
            None => groups.push((heading, vec![&task.name])),
        }
    }
    for (heading, tasks) in groups {
        line(text, &format!("{heading}: {}", tasks.join(", ")));
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{}", printable(line));
}
