use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::channel;
use std::sync::{Barrier, Mutex};

use super::stage::{Cue, Stage};
use super::{DEADLINE, outcome, plan, words};
use crate::{Cause, Ending, Graph, Outcome, Panicked, RunOptions, TaskError, What};

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

/// Runs the tree with `failing` failing. Unless the run keeps going, `b` and `d` start together, and the one that
/// does not fail runs until it is cancelled.
fn fail_at(failing: &str, options: &RunOptions) -> BTreeMap<String, Outcome> {
    let graph = Graph::new(plan(&TREE)).unwrap();
    let both_started = Barrier::new(2);
    let run = graph
        .run(
            options,
            |_| {},
            |context, name| -> Result<Ending, TaskError> {
                let beside = !options.keep_going && matches!(name.as_str(), "b" | "d");
                if beside {
                    both_started.wait();
                }
                if name == failing {
                    return Err(format!("{name} is broken").into());
                }
                if beside {
                    context.pause(DEADLINE)?;
                }
                Ok(Ending::Done)
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
    for (failing, cancelled, cause_of_c) in [("b", "d", needs("b")), ("d", "b", stopped("d"))] {
        let outcomes = fail_at(failing, &RunOptions::default());
        assert_eq!(outcomes[failing], failed(failing));
        assert_eq!(outcomes["c"], Outcome::NotStarted { cause: cause_of_c });
        let expected = Outcome::Cancelled {
            cause: stopped(failing),
            detail: Some(format!("cancelled: the run stopped because {failing} failed")),
        };
        assert_eq!(outcomes[cancelled], expected);
    }
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
fn failures_are_reported_in_the_order_of_time_not_of_the_plan() {
    let graph = Graph::new(plan(&["second", "first"])).unwrap();
    let (first_ended, waits) = channel();
    let waits = Mutex::new(waits);
    let run = graph.run(
        &keep_going(),
        |event| {
            if event.task == graph.id("first").unwrap() && matches!(event.what, What::Finished(_)) {
                first_ended.send(()).unwrap();
            }
        },
        |_, name| -> Result<Ending, TaskError> {
            if name == "second" {
                waits.lock().unwrap().recv_timeout(DEADLINE)?;
            }
            Err(format!("{name} is broken").into())
        },
    );
    let failures = run.unwrap().failures;
    let found: Vec<_> = failures.iter().map(|it| it.error.to_string()).collect();
    assert_eq!(found, ["first is broken", "second is broken"]);
}

#[test]
fn task_that_succeeds_although_cancelled_is_done() {
    let graph = Graph::new(plan(&["a", "b"])).unwrap();
    let both_started = Barrier::new(2);
    let run = graph.run(
        &RunOptions::default(),
        |_| {},
        |context, name| -> Result<Ending, TaskError> {
            both_started.wait();
            if name == "a" {
                return Err("broken".into());
            }
            assert!(context.pause(DEADLINE).is_err());
            Ok(Ending::DoneWith("too late to stop".to_owned()))
        },
    );
    let note = Some("too late to stop".to_owned());
    assert_eq!(*outcome(&run.unwrap().trace, "b"), Outcome::Done { note });
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
