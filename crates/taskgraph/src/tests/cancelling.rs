use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};

use super::stage::Stage;
use super::{DEADLINE, outcome, plan, words};
use crate::cancel::Token;
use crate::{Cause, Ending, Graph, Interrupt, Outcome, RunOptions, TaskError};

fn interrupted(reason: &str) -> Cause {
    Cause::Interrupted {
        reason: reason.to_owned(),
    }
}

#[test]
fn interrupt_at_each_task_of_a_chain_stops_it_there() {
    let chain = ["a", "b:a", "c:b"];
    for stop_at in 0..3 {
        let graph = Graph::new(plan(&chain)).unwrap();
        let interrupt = Interrupt::new();
        let options = RunOptions {
            interrupt: interrupt.clone(),
            ..RunOptions::default()
        };
        let run = Stage::play(&graph, &options, |stage| {
            for task in &["a", "b", "c"][..stop_at] {
                stage.started(&[task]);
                stage.succeed(task);
            }
            let running = ["a", "b", "c"][stop_at];
            stage.started(&[running]);
            interrupt.cancel("Ctrl-C");
            stage.stopped(&[running]);
        });
        for (position, task) in run.trace.tasks.iter().enumerate() {
            match &task.outcome {
                Outcome::Done { .. } => assert!(position < stop_at),
                Outcome::Cancelled { cause, .. } => {
                    assert_eq!((position, cause), (stop_at, &interrupted("Ctrl-C")))
                }
                Outcome::NotStarted { cause } => {
                    assert!(position > stop_at);
                    assert_eq!(*cause, interrupted("Ctrl-C"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(run.failures.is_empty());
    }
}

#[test]
fn cancelled_before_the_start_only_always_tasks_run() {
    let mut plan = plan(&["a", "teardown"]);
    plan.tasks[1].always = true;
    let graph = Graph::new(plan).unwrap();
    let options = RunOptions::default();
    options.interrupt.cancel("no time");
    let run = Stage::play(&graph, &options, |stage| {
        stage.started(&["teardown"]);
        stage.succeed("teardown");
    });
    assert_eq!(words(&run.trace), [("a", "not started"), ("teardown", "done")]);
}

#[test]
fn second_interrupt_stops_always_tasks_too() {
    let mut plan = plan(&["a", "collect", "teardown"]);
    plan.tasks[1].always = true;
    plan.tasks[2].always = true;
    let graph = Graph::new(plan).unwrap();
    let options = RunOptions::default();
    let run = Stage::play(&graph, &options, |stage| {
        stage.started(&["a"]);
        options.interrupt.cancel("Ctrl-C");
        stage.stopped(&["a"]);
        stage.started(&["collect"]);
        options.interrupt.abandon("Ctrl-C twice");
        stage.stopped(&["collect"]);
    });
    assert_eq!(
        words(&run.trace),
        [
            ("a", "cancelled"),
            ("collect", "cancelled"),
            ("teardown", "not started")
        ]
    );
    assert_eq!(
        *outcome(&run.trace, "teardown"),
        Outcome::NotStarted {
            cause: interrupted("Ctrl-C twice")
        }
    );
}

#[test]
fn first_cause_is_kept() {
    let interrupt = Interrupt::new();
    interrupt.cancel("first");
    interrupt.cancel("second");
    assert!(interrupt.is_cancelled());
    assert_eq!(interrupt.tokens().0.cause(), Some(interrupted("first")));
    assert_eq!(interrupt.tokens().1.cause(), None);
}

#[test]
fn callback_is_called_once_and_not_after_its_guard_is_dropped() {
    let token = Token::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = |amount: usize| {
        let calls = calls.clone();
        Box::new(move || {
            calls.fetch_add(amount, Ordering::SeqCst);
        })
    };
    let kept = token.on_cancel(count(1));
    drop(token.on_cancel(count(100)));
    token.cancel(interrupted("now"));
    token.cancel(interrupted("again"));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(kept);
    // Registered after the cancellation: called at once.
    let _late = token.on_cancel(count(10));
    assert_eq!(calls.load(Ordering::SeqCst), 11);
}

#[test]
fn panicking_callback_does_not_prevent_the_others() {
    let token = Token::default();
    let (sender, receiver) = channel();
    let _bad = token.on_cancel(Box::new(|| panic!("in a callback")));
    let _good = token.on_cancel(Box::new(move || sender.send(()).unwrap()));
    token.cancel(interrupted("now"));
    receiver.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn guard_drop_waits_for_its_running_callback() {
    let token = Token::default();
    let inside = Arc::new(Barrier::new(2));
    let finished = Arc::new(AtomicUsize::new(0));
    let guard = {
        let (inside, finished) = (inside.clone(), finished.clone());
        token.on_cancel(Box::new(move || {
            inside.wait();
            // Any work: the guard's end must come after all of it.
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            finished.store(1, Ordering::SeqCst);
        }))
    };
    std::thread::scope(|scope| {
        scope.spawn(|| token.cancel(interrupted("now")));
        inside.wait();
        drop(guard);
        assert_eq!(finished.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn pause_ends_early_on_cancellation() {
    let graph = Graph::new(plan(&["waits"])).unwrap();
    let options = RunOptions::default();
    let run = graph.run(
        &options,
        |event| {
            if event.what == crate::What::Started {
                options.interrupt.cancel("Ctrl-C");
            }
        },
        |context, _| -> Result<Ending, TaskError> {
            context.pause(std::time::Duration::MAX)?;
            Ok(Ending::Done)
        },
    );
    let detail = Some("cancelled: interrupted: Ctrl-C".to_owned());
    let expected = Outcome::Cancelled {
        cause: interrupted("Ctrl-C"),
        detail,
    };
    assert_eq!(run.unwrap().trace.tasks[0].outcome, expected);
}

#[test]
fn panicking_observer_stops_the_tasks_and_propagates() {
    let graph = Graph::new(plan(&["waits"])).unwrap();
    let stopped = AtomicUsize::new(0);
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        graph.run(
            &RunOptions::default(),
            |event| assert_ne!(event.what, crate::What::Progress("now".to_owned())),
            |context, _| -> Result<Ending, TaskError> {
                context.progress("now");
                context
                    .pause(DEADLINE)
                    .inspect_err(|_| stopped.store(1, Ordering::SeqCst))?;
                Ok(Ending::Done)
            },
        )
    }));
    assert!(run.is_err());
    assert_eq!(stopped.load(Ordering::SeqCst), 1);
}
