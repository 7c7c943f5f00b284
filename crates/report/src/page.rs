//! report.html: the whole run on one page; it links only to the logs.

use serde::Serialize;
use taskgraph::Through;

use crate::analysis::Analysis;
use crate::compare::{self, Comparison};
use crate::model::{Report, RunResult, ScenarioOutcome};
use crate::words::{self, printable};
use crate::{template, timeline};

#[derive(Serialize)]
struct Page {
    title: String,
    /// `good`, `bad`.
    verdict: &'static str,
    facts: Vec<(&'static str, String)>,
    timeline: String,
    failures: Vec<Failure>,
    chain: Vec<Link>,
    if_free: Option<String>,
    waits: Vec<Wait>,
    tests: Vec<Scenario>,
    tests_in_words: String,
    comparison: Option<Comparison>,
    tasks: Vec<Task>,
}

#[derive(Serialize)]
struct Failure {
    task: String,
    text: String,
    log: Option<String>,
}

#[derive(Serialize)]
struct Link {
    task: String,
    log: Option<String>,
    cost: String,
    /// Percentage of the run.
    share: f64,
    through: String,
}

#[derive(Serialize)]
struct Wait {
    task: String,
    resources: String,
    waited: String,
    freed_by: String,
}

#[derive(Serialize)]
struct Scenario {
    id: String,
    name: String,
    outcome: &'static str,
    duration: String,
    share: f64,
    reason: Option<String>,
    detail: Option<String>,
}

#[derive(Serialize)]
struct Task {
    name: String,
    kind: String,
    log: Option<String>,
    outcome: String,
    word: &'static str,
    start: String,
    duration: String,
    waited: String,
    slack: String,
    notes: Vec<String>,
}

/// Renders the page with the timeline.
pub(crate) fn render(report: &Report) -> anyhow::Result<String> {
    let analysis = Analysis::new(&report.trace);
    let page = Page {
        title: printable(&format!(
            "{} e2e run {}: {}",
            report.run.stack,
            report.run.id,
            report.run.result.as_str()
        )),
        verdict: if report.run.result == RunResult::Passed {
            "good"
        } else {
            "bad"
        },
        facts: facts(report),
        timeline: timeline::render(report)?,
        failures: failures(report),
        chain: chain(report, &analysis),
        if_free: if_free_in_words(&analysis),
        waits: waits(report),
        tests: tests(report),
        tests_in_words: timeline::tests_in_words(report),
        comparison: compare::comparison(report),
        tasks: tasks(report, &analysis),
    };
    template::render("report.html", &page)
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let run = &report.run;
    let machine = &report.machine;
    let mut facts = vec![
        (
            "result",
            format!("{} in {}", run.result.as_str(), words::span(report.trace.wall)),
        ),
        ("scenarios", timeline::tests_in_words(report)),
        ("provider", format!("{} ({})", run.provider, run.provider_reason)),
        ("order", run.order.clone()),
        (
            "started",
            run.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        ),
        (
            "machine",
            format!(
                "{}, {}, {}",
                machine.system,
                words::count(machine.cpus, "CPU"),
                words::bytes(machine.memory_bytes)
            ),
        ),
        ("command", run.command.join(" ")),
    ];
    if run.kept {
        facts.push((
            "stack",
            format!("still up; `{} down {}` removes it", run.program(), run.id),
        ));
    }
    facts
        .into_iter()
        .map(|(name, fact)| (name, printable(&fact)))
        .collect()
}

fn failures(report: &Report) -> Vec<Failure> {
    let failure = |failure: &crate::Failure| Failure {
        task: printable(&failure.task),
        text: printable(&failure.text),
        log: report.log_link(&failure.task),
    };
    report.failures.iter().map(failure).collect()
}

fn chain(report: &Report, analysis: &Analysis) -> Vec<Link> {
    let wall = report.trace.wall.as_secs_f64().max(f64::MIN_POSITIVE);
    let link = |link: &taskgraph::ChainLink| Link {
        task: printable(&link.task),
        log: report.log_link(&link.task),
        cost: words::span(link.cost()),
        share: percent(link.cost().as_secs_f64() / wall),
        through: printable(&through_in_words(&link.through)),
    };
    analysis.bounding.iter().map(link).collect()
}

/// `after compile`, `after cluster begun`, `when pull:redis released network`.
pub(crate) fn through_in_words(through: &Through) -> String {
    match through {
        Through::Beginning => "from the start".to_owned(),
        Through::Edge { edge } => format!("after {edge}"),
        Through::Resource { resources, freed_by } if resources.is_empty() => {
            format!("when {freed_by} released a thread")
        }
        Through::Resource { resources, freed_by } => {
            format!("when {freed_by} released {}", resources.join(", "))
        }
    }
}

/// `If compile took no time, the run would take 51.0 s`.
pub(crate) fn if_free_in_words(analysis: &Analysis) -> Option<String> {
    let free = analysis.if_free.as_ref()?;
    Some(printable(&format!(
        "If {} took no time, the run would take {}",
        free.task,
        words::span(free.wall)
    )))
}

fn waits(report: &Report) -> Vec<Wait> {
    let mut held: Vec<_> = report
        .trace
        .tasks
        .iter()
        .filter_map(|task| Some((task, task.held.as_ref()?)))
        .collect();
    held.sort_by_key(|(task, _)| std::cmp::Reverse(task.waited()));
    held.into_iter()
        .map(|(task, held)| Wait {
            task: printable(&task.name),
            resources: if held.resources.is_empty() {
                "a thread".to_owned()
            } else {
                printable(&held.resources.join(", "))
            },
            waited: words::span(task.waited()),
            freed_by: printable(held.freed_by.as_deref().unwrap_or("–")),
        })
        .collect()
}

fn tests(report: &Report) -> Vec<Scenario> {
    let longest = report
        .tests
        .iter()
        .map(|test| test.seconds)
        .fold(f64::MIN_POSITIVE, f64::max);
    let mut tests: Vec<&crate::Scenario> = report.tests.iter().collect();
    // Failures first.
    let rank = |outcome| match outcome {
        ScenarioOutcome::Failed => 0,
        ScenarioOutcome::Flaky => 1,
        ScenarioOutcome::Passed | ScenarioOutcome::Skipped => 2,
    };
    tests.sort_by_key(|test| (rank(test.outcome), test.id.clone()));
    let clean = |text: &Option<String>| text.as_deref().map(printable);
    tests
        .into_iter()
        .map(|test| Scenario {
            id: printable(&test.id),
            name: printable(&test.name),
            outcome: test.outcome.as_str(),
            duration: words::duration(test.seconds),
            share: percent(test.seconds / longest),
            reason: clean(&test.reason),
            detail: clean(&test.detail),
        })
        .collect()
}

fn tasks(report: &Report, analysis: &Analysis) -> Vec<Task> {
    timeline::rows(&report.trace)
        .into_iter()
        .map(|task| Task {
            name: printable(&task.name),
            kind: printable(report.kind(&task.name)),
            log: report.log_link(&task.name),
            outcome: task.outcome.word().replace(' ', "-"),
            word: task.outcome.word(),
            start: task.start.map_or_else(|| "–".to_owned(), words::span),
            duration: task
                .start
                .map_or_else(|| "–".to_owned(), |_| words::span(task.duration())),
            waited: if task.held.is_some() {
                words::span(task.waited())
            } else {
                "–".to_owned()
            },
            slack: analysis
                .slack
                .get(&task.name)
                .map_or_else(|| "–".to_owned(), |slack| words::span(*slack)),
            notes: notes(task),
        })
        .collect()
}

fn notes(task: &taskgraph::TaskTrace) -> Vec<String> {
    use taskgraph::Outcome;
    let about = match &task.outcome {
        Outcome::Done { note } => note.clone(),
        Outcome::Skipped { reason } => Some(reason.clone()),
        Outcome::Failed { error, .. } => error.lines().next().map(str::to_owned),
        Outcome::Cancelled { cause, .. } | Outcome::NotStarted { cause } => Some(cause.to_string()),
    };
    let measured = task
        .measured
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    about
        .into_iter()
        .chain(task.notes.clone())
        .chain(measured)
        .map(|note| printable(&note))
        .collect()
}

fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}
