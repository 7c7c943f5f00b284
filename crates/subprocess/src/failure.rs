//! Why a child did not do its work, told so that a person can act on it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::proc;

/// How a child ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It could not be started, fed or listened to: the system's own words.
    NotStarted(String),
    /// It exited by itself with this code (also 0, where success was not what was asked for).
    Exit(i32),
    /// This signal ended it, and we did not send it.
    Signal(i32),
    /// It was ended by us after this long.
    Deadline(Duration),
    /// It was ended by us because what it was part of had been cancelled.
    Cancelled,
    /// It was ended by us on purpose ([`crate::Killer::kill`], [`crate::Child::terminate`]).
    Stopped,
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(reason) => write!(formatter, "did not start: {reason}"),
            // 137 is what a shell, podman or kubectl makes of a child's SIGKILL.
            Self::Exit(137) | Self::Signal(9) => {
                formatter.write_str("killed (137): most often this means that memory ran out")?;
                match (proc::field("meminfo", "MemTotal"), proc::available_memory()) {
                    (Some(total), Some(available)) => write!(
                        formatter,
                        " (this machine has {:.1} GiB, {:.1} GiB of it available now)",
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
                    "not done after its deadline of {} s, so it was ended",
                    seconds(*limit)
                )
            }
            Self::Cancelled => formatter.write_str("cancelled"),
            Self::Stopped => formatter.write_str("stopped on purpose"),
        }
    }
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).round() / 10.0
}

/// The names differ in number between systems only for signals that no child is ended by in practice.
fn signal_name(number: i32) -> &'static str {
    match number {
        1 => "SIGHUP: its terminal closed",
        2 => "SIGINT: interrupted",
        3 => "SIGQUIT",
        4 => "SIGILL: this processor does not know an instruction in it",
        6 => "SIGABRT: it gave up by itself",
        8 => "SIGFPE",
        11 => "SIGSEGV: it crashed",
        13 => "SIGPIPE: nobody read its output any more",
        14 => "SIGALRM",
        15 => "SIGTERM: somebody asked it to end",
        _ => "see signal(7)",
    }
}

/// A child did not do its work: what failed, the command, how it ended, its last lines, the whole log.
///
/// [`fmt::Display`] shows all of that on several lines.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Failure(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    name: String,
    command: String,
    ended: Ended,
    last_lines: Vec<String>,
    log: Option<PathBuf>,
    also: Vec<Failure>,
}

impl Failure {
    pub(crate) fn new(name: String, command: String, ended: Ended) -> Self {
        Self(Box::new(Details {
            name,
            command,
            ended,
            last_lines: Vec::new(),
            log: None,
            also: Vec::new(),
        }))
    }

    pub(crate) fn with_log(mut self, last_lines: Vec<String>, log: Option<PathBuf>) -> Self {
        self.0.last_lines = last_lines;
        self.0.log = log;
        self
    }

    pub(crate) fn with_also(mut self, other: Self) -> Self {
        self.0.also.push(other);
        self
    }

    /// What failed, in the words of whoever started it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The exact command, quoted for a shell; secrets left out.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.0.command
    }

    /// How it ended.
    #[must_use]
    pub fn ended(&self) -> &Ended {
        &self.0.ended
    }

    /// The exit code, if it exited by itself.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.0.ended {
            Ended::Exit(code) => Some(code),
            _ => None,
        }
    }

    /// Whether it ended because it was cancelled, not because something is wrong.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.ended == Ended::Cancelled
    }

    /// The last lines that it printed, oldest first.
    #[must_use]
    pub fn last_lines(&self) -> &[String] {
        &self.0.last_lines
    }

    /// The file with all that it printed.
    #[must_use]
    pub fn log(&self) -> Option<&Path> {
        self.0.log.as_deref()
    }

    /// What failed with it: the other side of a pipeline.
    #[must_use]
    pub fn also(&self) -> &[Failure] {
        &self.0.also
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details {
            name,
            command,
            ended,
            last_lines,
            log,
            also,
        } = &*self.0;
        write!(formatter, "{name}: {ended}\n  command: {command}")?;
        if last_lines.is_empty() {
            if !matches!(ended, Ended::NotStarted(_)) {
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
        for other in also {
            write!(formatter, "\nand {other}")?;
        }
        Ok(())
    }
}
