//! Runs a graph of tasks in parallel: edges, resources, cancellation, trace.
//!
//! A [`Plan`] is plain data: tasks with names, what each waits for, what each holds while it runs, and an action
//! in the caller's own terms. [`Graph::new`] checks it: an edge to a missing task or a cycle is rejected, with
//! names. [`Graph::run`] calls the caller's function for each task, on a thread of its own, as soon as what it
//! waits for has happened and its resources are free; the longest remaining chain goes first.
//!
//! ```
//! use std::time::Duration;
//! use taskgraph::{Ending, Graph, Plan, RunOptions, Task, TaskError};
//!
//! enum Action { Compile, Cluster, Load }
//!
//! let mut plan = Plan::new();
//! plan.resource("cpu", 2)
//!     .task(Task::new("compile", Action::Compile).needs("cpu", 2).estimate(Duration::from_secs(60)))
//!     .task(Task::new("cluster", Action::Cluster).milestone("begun", Duration::from_secs(2)))
//!     .task(Task::new("load", Action::Load).after("compile").after_milestone("cluster", "begun"));
//! let graph = Graph::new(plan)?;
//!
//! let run = graph.run(
//!     &RunOptions::default(),
//!     |event| eprintln!("{:?} {} {:?}", event.at, graph.task(event.task).name, event.what),
//!     |context, action| -> Result<Ending, TaskError> {
//!         match action {
//!             Action::Cluster => context.reach("begun")?,
//!             Action::Compile => context.progress("compiling"),
//!             Action::Load => return Ok(Ending::Skipped("the node has it".to_owned())),
//!         }
//!         Ok(Ending::Done)
//!     },
//! )?;
//! assert!(run.trace.is_success());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **Failure.** The first failure tells all running tasks to stop and starts no other; with
//!   [`RunOptions::keep_going`] only what needs the failed task. Each task's [`Outcome`] tells failed, cancelled and
//!   not started apart, with the [`Cause`].
//! - **Cancellation.** A task asks [`Context::is_cancelled`], waits with [`Context::pause`], or lets
//!   [`Context::on_cancel`] call back. [`Interrupt`] does it from outside.
//! - **At the end.** [`Task::always`] tasks run one after the other when all else has ended, whatever happened.
//! - **Afterwards.** The [`Trace`] says when each task was ready, started and ended, and what it waited for;
//!   [`Trace::bounding_chain`] what made the run as long as it was, [`Graph::simulate`] what it would take
//!   otherwise, by the same decisions, and [`Trace::model`] what it would take on a machine with other cores.

mod analysis;
mod cancel;
mod clock;
mod context;
mod event;
mod forecast;
mod graph;
mod outcome;
mod plan;
mod run;
mod scheduler;
mod seconds;
mod simulate;
mod trace;

#[cfg(test)]
mod tests;

pub use analysis::{ChainLink, IfFree, Through};
pub use cancel::{Interrupt, OnCancel};
pub use context::{Cancelled, Context, UnknownMilestone};
pub use event::{Event, What};
pub use forecast::{Forecast, Model};
pub use graph::{Graph, PlanError, PlanErrors, TaskId};
pub use outcome::{Cause, Ending, Outcome, TaskError};
pub use plan::{Edge, Plan, Task};
pub use run::{Failure, NoThreads, Panicked, Run, RunOptions};
pub use simulate::Timing;
pub use trace::{Held, TaskTrace, Trace};
