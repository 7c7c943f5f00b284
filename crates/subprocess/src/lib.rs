//! Runs child processes as groups: deadlines, log files, last lines, records of what still runs.
//!
//! Every child is the leader of a process group of its own, and is ended with everything that it started. What
//! it prints goes to a log file as it comes. When it fails, [`Failure`] says what failed, the exact command, how
//! it ended, its last lines and where the whole log is. Nothing here polls where the kernel can wake us: a
//! waiting parent uses no CPU.
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
//! - [`Command::run`] and [`Command::capture`] wait for the end; [`Pipeline`] does so for two commands.
//! - [`Command::spawn`] gives a [`Child`], ended on drop unless [`Child::detach`]ed.
//! - [`Command::record`] leaves a [`Record`] in a file: another process can tell whether it still runs, stop it
//!   and start it again.
//! - Every child carries in its environment who started it (`SUBPROCESS_OWNER`): what a killed process leaves is found
//!   by [`Orphan::all`].
//! - [`eprint_line`] prints a line on stderr, where whoever runs the program follows what it runs.
//! - [`watch_children`] tells of each child of a thread when it starts, and what it has used when it ends.

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
pub use failure::{Ended, Failure};
pub use output::Output;
pub use pipeline::Pipeline;
pub use port::free_port;
pub use print::eprint_line;
pub use process::Process;
pub use record::{Record, RecordError, write_atomically};
pub use rustix::process::Signal;
pub use tags::Orphan;
pub use watch::{Usage, Watch, WatchGuard, watch_children};
