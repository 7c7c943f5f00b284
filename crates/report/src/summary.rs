//! Summary of a run in the terminal. The first failure is nearest to the prompt.

use std::fmt::Write;

use taskgraph::Outcome;

use crate::analysis::Analysis;
use crate::model::{Report, ScenarioOutcome};
use crate::page::{if_free_in_words, through_in_words};
use crate::words::{self, printable};
use crate::{compare, timeline};

/// Returns the summary as plain text: the bounding chain with the cost of each link, the forecast without the most
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

fn chain(text: &mut String, analysis: &Analysis) {
    if analysis.bounding.is_empty() {
        return;
    }
    text.push_str("The run was bounded by\n");
    let width = analysis
        .bounding
        .iter()
        .map(|link| link.task.chars().count())
        .max()
        .unwrap_or(0);
    for link in &analysis.bounding {
        let (cost, name, through) = (
            words::span(link.cost()),
            &link.task,
            through_in_words(&link.through),
        );
        line(text, &format!("  {cost:>12}  {name:width$}  {through}"));
    }
    if let Some(if_free) = if_free_in_words(analysis) {
        line(text, &format!("{if_free}."));
    }
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
