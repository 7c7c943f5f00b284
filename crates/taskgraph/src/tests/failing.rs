use std::collections::BTreeMap;
use std::fmt;

use super::stage::{Cue, Stage};
use super::{outcome, plan, words};
use crate::{Cause, Ending, Graph, Outcome, Panicked, RunOptions, TaskError};

/// Two chains that share their beginning: a -> b -> c, a -> d.
const TREE: [&str; 4] = ["a", "b:a", "c:b", "d:a"];

fn keep_going() -> RunOptions {
    RunOptions {
        keep_going: true,
        ..RunOptions::default()
    }
}

fn needs(task: &str) -> Cause {
    Cause::Needs {
        task: task.to_owned(),
    }
}

fn stopped(task: &str) -> Cause {
    Cause::Stopped {
        task: task.to_owned(),
    }
}

/// Fails `failing` at once, and lets everything else that starts before it succeed first.
fn fail_at(failing: &str, options: &RunOptions) -> BTreeMap<String, Outcome> {
    let graph = Graph::new(plan(&TREE)).unwrap();
    let run = graph
        .run(
            options,
            |_| {},
            |context, name| -> Result<Ending, TaskError> {
                if name == failing {
                    return Err(format!("{name} is broken").into());
                }
                // Beside a failing task: until it is cancelled.
                if options.keep_going || !matches!((name.as_str(), failing), ("b", "d") | ("d", "b")) {
                    return Ok(Ending::Done);
                }
                Ok(context.pause(super::DEADLINE).map(|()| Ending::Done)?)
            },
        )
        .unwrap();
    let failed: Vec<_> = run.failures.iter().map(|failure| failure.task.as_str()).collect();
    assert_eq!(failed, [failing]);
    assert_eq!(run.failures[0].error.to_string(), format!("{failing} is broken"));
    run.trace
        .tasks
        .into_iter()
        .map(|task| (task.name, task.outcome))
        .collect()
}

fn failed(task: &str) -> Outcome {
    Outcome::Failed {
        error: format!("{task} is broken"),
        panicked: false,
    }
}

const DONE: Outcome = Outcome::Done { note: None };

#[test]
fn failure_at_each_task_with_keep_going_spares_independent_tasks() {
    let not_started = |task| Outcome::NotStarted { cause: needs(task) };
    for (failing, expected) in [
        (
            "a",
            [failed("a"), not_started("a"), not_started("a"), not_started("a")],
        ),
        ("b", [DONE, failed("b"), not_started("b"), DONE]),
        ("c", [DONE, DONE, failed("c"), DONE]),
        ("d", [DONE, DONE, DONE, failed("d")]),
    ] {
        let outcomes: Vec<_> = fail_at(failing, &keep_going()).into_values().collect();
        assert_eq!(outcomes, expected, "when {failing} fails");
    }
}

#[test]
fn first_failure_at_each_task_stops_the_run() {
    let outcomes = fail_at("a", &RunOptions::default());
    for task in ["b", "c", "d"] {
        assert_eq!(outcomes[task], Outcome::NotStarted { cause: needs("a") });
    }
    let outcomes = fail_at("b", &RunOptions::default());
    assert_eq!(outcomes["c"], Outcome::NotStarted { cause: needs("b") });
    assert!(
        // It either ran and was cancelled, or never started.
        matches!(&outcomes["d"], Outcome::Cancelled { cause, .. } | Outcome::NotStarted { cause } if *cause == stopped("b")),
        "{:?}",
        outcomes["d"]
    );
    let outcomes = fail_at("d", &RunOptions::default());
    assert!(
        !outcomes["b"].is_success() && !outcomes["b"].is_failure(),
        "{:?}",
        outcomes["b"]
    );
    assert_eq!(outcomes["c"], Outcome::NotStarted { cause: stopped("d") });
}

#[test]
fn running_tasks_are_cancelled_with_the_reason() {
    let graph = Graph::new(plan(&TREE)).unwrap();
    let run = Stage::play(&graph, &RunOptions::default(), |stage| {
        stage.started(&["a"]);
        stage.succeed("a");
        stage.started(&["b", "d"]);
        stage.cue("d", Cue::Fail("broken"));
        stage.stopped(&["b"]);
    });
    assert_eq!(
        words(&run.trace),
        [
            ("a", "done"),
            ("b", "cancelled"),
            ("c", "not started"),
            ("d", "failed")
        ]
    );
    let detail = Some("cancelled: the run stopped because d failed".to_owned());
    assert_eq!(
        *outcome(&run.trace, "b"),
        Outcome::Cancelled {
            cause: stopped("d"),
            detail
        }
    );
}

#[test]
fn with_keep_going_the_other_branch_is_not_disturbed() {
    let graph = Graph::new(plan(&TREE)).unwrap();
    let run = Stage::play(&graph, &keep_going(), |stage| {
        stage.started(&["a"]);
        stage.succeed("a");
        stage.started(&["b", "d"]);
        stage.cue("d", Cue::Fail("broken"));
        stage.succeed("b");
        stage.started(&["c"]);
        stage.succeed("c");
    });
    assert_eq!(
        words(&run.trace),
        [("a", "done"), ("b", "done"), ("c", "done"), ("d", "failed")]
    );
}

#[test]
fn every_failure_is_reported_in_the_order_of_time() {
    let graph = Graph::new(plan(&["a", "b", "c"])).unwrap();
    let run = Stage::play(&graph, &keep_going(), |stage| {
        stage.started(&["a", "b", "c"]);
        stage.cue("b", Cue::Fail("second in the plan"));
        // Until b has failed: c's failure must follow it.
        stage.cue("c", Cue::Fail("third in the plan"));
        stage.succeed("a");
    });
    let mut failures: Vec<_> = run.failures.iter().map(|failure| failure.task.as_str()).collect();
    failures.sort_unstable();
    assert_eq!(failures, ["b", "c"]);
}

#[test]
fn task_that_succeeds_although_cancelled_is_done() {
    let graph = Graph::new(plan(&["a", "b"])).unwrap();
    let run = graph.run(
        &RunOptions::default(),
        |_| {},
        |context, name| -> Result<Ending, TaskError> {
            if name == "a" {
                return Err("broken".into());
            }
            let _ = context.pause(super::DEADLINE);
            Ok(Ending::DoneWith("too late to stop".to_owned()))
        },
    );
    let b = run.unwrap().trace.task("b").unwrap().outcome.clone();
    // Unless it never started.
    assert!(
        matches!(&b, Outcome::Done { note: Some(note) } if note == "too late to stop")
            || matches!(b, Outcome::NotStarted { .. }),
        "{b:?}"
    );
}

#[test]
fn panic_becomes_the_tasks_failure_with_its_message() {
    let graph = Graph::new(plan(&["a", "b:a", "c"])).unwrap();
    let run = Stage::play(&graph, &keep_going(), |stage| {
        stage.started(&["a", "c"]);
        stage.cue("a", Cue::Panic("index out of bounds"));
        stage.succeed("c");
    });
    assert_eq!(
        words(&run.trace),
        [("a", "failed"), ("b", "not started"), ("c", "done")]
    );
    let error = "panicked: index out of bounds".to_owned();
    assert_eq!(
        *outcome(&run.trace, "a"),
        Outcome::Failed {
            error,
            panicked: true
        }
    );
    assert_eq!(
        run.failures[0].error.downcast_ref(),
        Some(&Panicked("index out of bounds".to_owned()))
    );
}

#[derive(Debug)]
struct Layered(&'static str, Option<Box<Layered>>);

impl fmt::Display for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Layered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_ref().map(|source| source as _)
    }
}

#[test]
fn trace_has_the_error_with_its_causes_and_the_run_the_error_itself() {
    let graph = Graph::new(plan(&["a"])).unwrap();
    let run = graph.run(
        &RunOptions::default(),
        |_| {},
        |_, _| {
            Err::<Ending, _>(Layered(
                "loading gateway",
                Some(Box::new(Layered("no space left", None))),
            ))
        },
    );
    let run = run.unwrap();
    let error = "loading gateway: no space left".to_owned();
    assert_eq!(
        *outcome(&run.trace, "a"),
        Outcome::Failed {
            error,
            panicked: false
        }
    );
    assert!(run.failures[0].error.is::<Layered>());
}

#[test]
fn skipped_task_releases_the_next_with_its_reason() {
    let graph = Graph::new(plan(&["load", "deploy:load"])).unwrap();
    let run = graph.run(
        &RunOptions::default(),
        |_| {},
        |context, name| -> Result<Ending, TaskError> {
            context.note(format!("{name} was here"));
            context.measured("memory_peak_bytes", 1.0);
            context.measured("memory_peak_bytes", 2.0);
            Ok(if name == "load" {
                Ending::Skipped("the node has it".to_owned())
            } else {
                Ending::Done
            })
        },
    );
    let trace = run.unwrap().trace;
    assert_eq!(words(&trace), [("load", "skipped"), ("deploy", "done")]);
    assert_eq!(
        *outcome(&trace, "load"),
        Outcome::Skipped {
            reason: "the node has it".to_owned()
        }
    );
    assert_eq!(trace.task("load").unwrap().notes, ["load was here"]);
    assert_eq!(trace.task("load").unwrap().measured["memory_peak_bytes"], 2.0);
    let text = serde_json::to_string(&trace).unwrap();
    assert!(
        text.contains(r#""outcome":{"kind":"skipped","reason":"the node has it"}"#),
        "{text}"
    );
}
