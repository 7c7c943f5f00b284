//! Runs a graph on threads.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::cancel::{Interrupt, OnCancel, Token};
use crate::clock::Clock;
use crate::context::{Context, Inner, Message, Report};
use crate::event::{Event, What};
use crate::graph::{Graph, TaskId};
use crate::outcome::{Cause, Ending, Outcome, Returned, TaskError, chain_text};
use crate::scheduler::{Order, Scheduler};
use crate::trace::Trace;

/// Default limit of [`RunOptions::threads`]; idle threads are cheap.
const MOST_THREADS: usize = 256;

/// Options of a run.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// After a failure, continue with tasks that do not need the failed one.
    pub keep_going: bool,
    /// Maximum number of concurrent tasks, each on a thread of its own. Default: the number of tasks, at
    /// most 256. Threads mostly wait for children: CPUs are shared by resources, not by this.
    pub threads: Option<usize>,
    /// Cancels the run from outside.
    pub interrupt: Interrupt,
}

/// The result of a run.
#[derive(Debug)]
pub struct Run {
    /// What happened.
    pub trace: Trace,
    /// Every failure, in the order of occurrence: the first is nearest to the cause. Panics are here
    /// with [`Panicked`] as the error.
    pub failures: Vec<Failure>,
}

/// A task's failure with the error as its action returned it.
#[derive(Debug)]
pub struct Failure {
    /// The task's name.
    pub task: String,
    /// The error.
    pub error: TaskError,
}

/// A task's action panicked with this message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

/// Why a run could not begin.
#[derive(Debug, thiserror::Error)]
#[error("could not start {threads} threads to run the tasks on")]
pub struct NoThreads {
    /// The requested number.
    pub threads: usize,
    /// The system's error.
    #[source]
    pub source: rayon::ThreadPoolBuildError,
}

impl<A: Sync> Graph<A> {
    /// Runs the tasks, each as soon as its edges and resources allow, and returns when all have ended.
    ///
    /// `action` executes one task; it is called from many threads. Its error is the task's failure, unless
    /// the task was cancelled: then it is the cancellation's detail. `observer` is called on this thread.
    ///
    /// Actions must not use rayon's `join` or parallel iterators without a pool of their own: a thread that
    /// waits in those may start another task meanwhile.
    ///
    /// # Errors
    /// Only when the threads cannot be started. Failures of tasks are in the [`Run`].
    pub fn run<E: Into<TaskError>>(
        &self,
        options: &RunOptions,
        observer: impl FnMut(&Event),
        action: impl Fn(&Context, &A) -> Result<Ending, E> + Sync,
    ) -> Result<Run, NoThreads> {
        self.run_by(&Clock::start(), options, observer, action)
    }

    pub(crate) fn run_by<E: Into<TaskError>>(
        &self,
        clock: &Clock,
        options: &RunOptions,
        mut observer: impl FnMut(&Event),
        action: impl Fn(&Context, &A) -> Result<Ending, E> + Sync,
    ) -> Result<Run, NoThreads> {
        let threads = options
            .threads
            .unwrap_or_else(|| self.len().min(MOST_THREADS))
            .max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("task-{index}"))
            .build()
            .map_err(|source| NoThreads { threads, source })?;
        let (sender, receiver) = channel();
        let _interrupts = forward_interrupts(&options.interrupt, &sender, clock);
        let mut conductor = Conductor {
            scheduler: Scheduler::new(&self.shape, options.keep_going, threads),
            tokens: std::iter::repeat_with(Token::default).take(self.len()).collect(),
            interrupt: &options.interrupt,
            clock,
            latest: Duration::ZERO,
            observer: &mut observer,
            failures: Vec::new(),
        };
        pool.in_place_scope(|scope| {
            let action = &action;
            conductor.conduct(&receiver, |id, token, outcomes| {
                let task = self.task(TaskId(id));
                let context = Context::new(Inner {
                    id,
                    name: task.name.clone(),
                    milestones: task.milestones.keys().cloned().collect(),
                    token: token.clone(),
                    clock: clock.clone(),
                    sender: sender.clone(),
                    outcomes,
                });
                scope.spawn(move |_| perform(self, id, &context, &token, action));
            });
        });
        let Conductor {
            scheduler, failures, ..
        } = conductor;
        let failures = failures
            .into_iter()
            .map(|(id, error)| Failure {
                task: self.task(TaskId(id)).name.clone(),
                error,
            })
            .collect();
        Ok(Run {
            trace: scheduler.into_trace(),
            failures,
        })
    }
}

/// An interrupt is a message like any other: one thread decides.
fn forward_interrupts(interrupt: &Interrupt, sender: &Sender<Message>, clock: &Clock) -> [OnCancel; 2] {
    let (work, always) = interrupt.tokens();
    [work, always].map(|token| {
        let (sender, clock) = (sender.clone(), clock.clone());
        token.on_cancel(Box::new(move || {
            let _ = sender.send(Message {
                at: clock.now(),
                id: 0,
                what: Report::Interrupted,
            });
        }))
    })
}

fn perform<A, E: Into<TaskError>>(
    graph: &Graph<A>,
    id: usize,
    context: &Context,
    token: &Token,
    action: &impl Fn(&Context, &A) -> Result<Ending, E>,
) {
    let result = catch_unwind(AssertUnwindSafe(|| {
        action(context, &graph.task(TaskId(id)).action)
    }));
    let result = match result {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => Err(Panicked(panic_text(panic.as_ref())).into()),
    };
    context.finish(Returned {
        result,
        cancelled: token.cause(),
    });
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)")
        .to_owned()
}

/// A panic of the observer is resumed after the tasks have ended, which are cancelled by it.
struct StopOnUnwind(Vec<Token>);

impl Drop for StopOnUnwind {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let cause = Cause::Interrupted {
                reason: "the run's observer panicked".to_owned(),
            };
            self.0.iter().for_each(|token| token.cancel(cause.clone()));
        }
    }
}

/// The scheduling thread: receives messages and executes the scheduler's decisions.
struct Conductor<'r> {
    scheduler: Scheduler<'r>,
    tokens: Vec<Token>,
    interrupt: &'r Interrupt,
    clock: &'r Clock,
    /// Time of the last message.
    latest: Duration,
    observer: &'r mut dyn FnMut(&Event),
    failures: Vec<(usize, TaskError)>,
}

impl Conductor<'_> {
    fn conduct(
        &mut self,
        receiver: &Receiver<Message>,
        mut start: impl FnMut(usize, Token, Vec<(String, Outcome)>),
    ) {
        let _unwinding = StopOnUnwind(self.tokens.clone());
        // Cancelled before the start: nothing starts.
        let mut orders = self.interrupted();
        orders.extend(self.scheduler.begin());
        loop {
            for order in orders {
                match order {
                    Order::Start(id) => start(id, self.tokens[id].clone(), self.outcomes_for(id)),
                    Order::Cancel(id, cause) => self.tokens[id].cancel(cause),
                    Order::Notify(event) => (self.observer)(&event),
                }
            }
            if self.scheduler.is_over() {
                return;
            }
            // A sender is kept here, so there is always another message while tasks run.
            let Ok(message) = receiver.recv() else { return };
            orders = self.take(message);
        }
    }

    fn outcomes_for(&self, id: usize) -> Vec<(String, Outcome)> {
        if self.scheduler.is_always(id) {
            self.scheduler.outcomes()
        } else {
            Vec::new()
        }
    }

    fn take(&mut self, Message { at, id, what }: Message) -> Vec<Order> {
        // Two tasks that read the clock and then report may report in the other order: time must not decrease.
        let at = at.max(self.latest);
        self.latest = at;
        match what {
            Report::Reached(milestone) => self.scheduler.reached(id, &milestone, at),
            Report::Progress(line) => vec![self.event(at, id, What::Progress(line))],
            Report::Note(note) => {
                self.scheduler.note(id, note);
                Vec::new()
            }
            Report::Measured(name, value) => {
                self.scheduler.measured(id, name, value);
                Vec::new()
            }
            Report::Finished(returned) => {
                let outcome = self.outcome(id, *returned);
                self.scheduler.finished(id, outcome, at)
            }
            Report::Interrupted => self.interrupted(),
        }
    }

    fn event(&self, at: Duration, id: usize, what: What) -> Order {
        Order::Notify(Event {
            at,
            task: TaskId(id),
            what,
        })
    }

    fn interrupted(&mut self) -> Vec<Order> {
        let now = self.clock.now().max(self.latest);
        self.latest = now;
        let (work, always) = self.interrupt.tokens();
        match (always.cause(), work.cause()) {
            (Some(cause), _) => self.scheduler.interrupt(cause, true, now),
            (None, Some(cause)) => self.scheduler.interrupt(cause, false, now),
            (None, None) => Vec::new(),
        }
    }

    fn outcome(&mut self, id: usize, Returned { result, cancelled }: Returned) -> Outcome {
        let error = match result {
            Ok(Ending::Done) => return Outcome::Done { note: None },
            Ok(Ending::DoneWith(note)) => return Outcome::Done { note: Some(note) },
            Ok(Ending::Skipped(reason)) => return Outcome::Skipped { reason },
            Err(error) => error,
        };
        let text = chain_text(error.as_ref());
        let panicked = error.is::<Panicked>();
        match cancelled {
            // A panic is an error in the action, even after a cancellation.
            Some(cause) if !panicked => Outcome::Cancelled {
                cause,
                detail: Some(text),
            },
            _ => {
                self.failures.push((id, error));
                Outcome::Failed {
                    error: text,
                    panicked,
                }
            }
        }
    }
}
