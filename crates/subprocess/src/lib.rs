//! Runs child processes as groups: deadlines, log files, last lines, records of running processes.
//!
//! Every child leads a process group of its own and is ended together with all of its descendants. Its output is
//! appended to a log file as it is printed. [`Failure`] has the name, the exact command, the exit code or signal, the
//! last lines and the path of the log. A waiting parent uses no CPU: nothing polls where the kernel can wake it.
//!
//! ```
//! use std::process;
//! use std::time::Duration;
//! use subprocess::{Cancel, Command};
//!
//! # fn main() -> Result<(), subprocess::Failure> {
//! let mut list = process::Command::new("env");
//! list.arg("--help");
//! let output = Command::new(list)
//!     .name("list the environment")
//!     .deadline(Duration::from_secs(10))
//!     .capture(&Cancel::never())?;
//! assert!(output.text().contains("env"));
//! # Ok(())
//! # }
//! ```
//!
//! - [`Command::run`] and [`Command::capture`] wait until the child exits; [`Pipeline`] does so for two commands.
//! - [`Command::spawn`] returns a [`Child`], killed on drop unless [`Child::detach`]ed.
//! - [`Command::record`] writes a [`Record`] to a file, by which another process can check whether the child still
//!   runs, stop it and start it again.
//! - Every child has its owner in its environment (`SUBPROCESS_OWNER`): [`Orphan::all`] finds the children of a killed
//!   process.
//! - [`eprint_line`] prints a line on stderr, for the progress of a verb.
//! - [`watch_children`] reports each child of a thread when it starts, and its CPU and memory when it ends.
//! - [`proc`] reads `/proc`, [`free_port`] chooses a port for a server, [`retry_while_busy`] starts a program that was
//!   just written.

mod busy;
mod cancel;
mod cargo;
mod child;
mod command;
mod failure;
mod output;
mod pipeline;
mod port;
mod print;
pub mod proc;
mod process;
mod record;
mod restart;
mod show;
mod tags;
mod watch;

pub use busy::retry_while_busy;
pub use cancel::{Cancel, CancelGuard};
pub use child::{Child, Killer};
pub use command::Command;
pub use failure::{Failure, Outcome};
pub use output::Output;
pub use pipeline::Pipeline;
pub use port::free_port;
pub use print::eprint_line;
pub use process::Process;
pub use record::{Record, RecordError, write_atomically};
pub use rustix::process::Signal;
pub use tags::Orphan;
pub use watch::{Usage, Watch, WatchGuard, watch_children};
