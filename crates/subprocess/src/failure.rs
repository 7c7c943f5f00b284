//! Failures of children: how they ended and what they printed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::proc;

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It could not be started, or its output could not be read: the system's message.
    NotStarted(String),
    /// It exited with this code; 0 where it should still run.
    Exit(i32),
    /// A signal that this process did not send ended it.
    Signal(i32),
    /// This process ended it after this deadline.
    Deadline(Duration),
    /// This process ended it because of a cancellation.
    Cancelled,
    /// This process stopped it ([`crate::Killer::kill`], [`crate::Child::terminate`]).
    Stopped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(reason) => write!(formatter, "did not start: {reason}"),
            // Shells, podman and kubectl report a child's SIGKILL as exit code 137.
            Self::Exit(137) | Self::Signal(9) => {
                formatter.write_str("killed (137): usually out of memory")?;
                match (proc::field("meminfo", "MemTotal"), proc::available_memory()) {
                    (Some(total), Some(available)) => write!(
                        formatter,
                        " (this machine has {:.1} GiB, {:.1} GiB available now)",
                        gibibytes(total),
                        gibibytes(available)
                    ),
                    _ => Ok(()),
                }
            }
            Self::Exit(code) => write!(formatter, "exit code {code}"),
            Self::Signal(number) => write!(formatter, "ended by signal {number} ({})", signal_name(*number)),
            Self::Deadline(limit) => {
                write!(
                    formatter,
                    "exceeded its deadline of {} s and was ended",
                    seconds(*limit)
                )
            }
            Self::Cancelled => formatter.write_str("cancelled"),
            Self::Stopped => formatter.write_str("stopped"),
        }
    }
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// Only numbers that are the same on all systems.
fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP: terminal closed",
        2 => "SIGINT: interrupted",
        3 => "SIGQUIT",
        4 => "SIGILL: illegal instruction for this processor",
        6 => "SIGABRT: aborted",
        8 => "SIGFPE",
        11 => "SIGSEGV: invalid memory access",
        13 => "SIGPIPE: the reader of its output exited",
        14 => "SIGALRM",
        15 => "SIGTERM: terminated by another process",
        _ => "see signal(7)",
    }
}

/// Failure of a child: name, command, how it ended, last lines, path of the log.
///
/// [`fmt::Display`] prints all of that on several lines.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Failure(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    name: String,
    command: String,
    outcome: Outcome,
    last_lines: Vec<String>,
    log: Option<PathBuf>,
    other_side: Option<Failure>,
}

impl Failure {
    pub(crate) fn new(name: String, command: String, outcome: Outcome) -> Self {
        Self(Box::new(Details {
            name,
            command,
            outcome,
            last_lines: Vec::new(),
            log: None,
            other_side: None,
        }))
    }

    pub(crate) fn with_log(mut self, last_lines: Vec<String>, log: Option<PathBuf>) -> Self {
        self.0.last_lines = last_lines;
        self.0.log = log;
        self
    }

    pub(crate) fn with_other_side(mut self, other: Self) -> Self {
        self.0.other_side = Some(other);
        self
    }

    /// Returns the name that was given to the command.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the exact command, quoted for a shell, without secrets.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.0.command
    }

    /// Returns how the child ended.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.0.outcome
    }

    /// Returns the exit code, if it exited by itself.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.0.outcome {
            Outcome::Exit(code) => Some(code),
            _ => None,
        }
    }

    /// Whether the cause is a cancellation.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.outcome == Outcome::Cancelled
    }

    /// Returns the last lines of the output, oldest first.
    #[must_use]
    pub fn last_lines(&self) -> &[String] {
        &self.0.last_lines
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log(&self) -> Option<&Path> {
        self.0.log.as_deref()
    }

    /// Returns the failure of the other side of a pipeline.
    #[must_use]
    pub fn other_side(&self) -> Option<&Failure> {
        self.0.other_side.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            name,
            command,
            outcome,
            last_lines,
            log,
            other_side,
        } = &*self.0;
        write!(formatter, "{name}: {outcome}\n  command: {command}")?;
        if last_lines.is_empty() {
            if !matches!(outcome, Outcome::NotStarted(_)) {
                write!(formatter, "\n  it printed nothing")?;
            }
        } else {
            write!(formatter, "\n  last lines:")?;
            for line in last_lines {
                write!(formatter, "\n    {line}")?;
            }
        }
        if let Some(log) = log {
            write!(formatter, "\n  whole log: {}", log.display())?;
        }
        if let Some(other) = other_side {
            write!(formatter, "\nand {other}")?;
        }
        Ok(())
    }
}
