//! Runs a graph of tasks in parallel: edges, resources, cancellation, trace.
//!
//! A [`Plan`] is plain data: tasks with names, dependencies, resources, and an action
//! of the user's own type. [`Graph::new`] checks it: an edge to a missing task or a cycle is rejected, with
//! names. [`Graph::run`] calls the given function for each task, on a thread of its own, as soon as its
//! dependencies are met and its resources are free; the longest remaining chain goes first.
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
//! - **Failure.** The first failure cancels all running tasks and starts no other; with
//!   [`RunOptions::keep_going`] only those that need the failed task. Each task's [`Outcome`] distinguishes failed,
//!   cancelled and not started, with the [`Cause`].
//! - **Cancellation.** A task checks [`Context::is_cancelled`], waits with [`Context::pause`], or registers
//!   [`Context::on_cancel`]. [`Interrupt`] cancels from outside.
//! - **At the end.** [`Task::always`] tasks run one after the other when all others have ended, whatever the outcome.
//! - **Afterwards.** The [`Trace`] has when each task was ready, started and ended, and what it waited for;
//!   [`Trace::bounding_chain`] the chain that determined the duration, [`Graph::simulate`] the duration under other
//!   conditions, by the same decisions, and [`Trace::model`] on a machine with other cores.

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
