//! Tags in the environment of children, by which they are found when their owner was killed before it could record
//! them.

use std::path::Path;
use std::sync::OnceLock;

use crate::proc::{self, Stat};
use crate::process::Process;

/// Tag of a recorded child and its descendants: the path of the record.
pub(crate) const RECORD: &str = "SUBPROCESS_RECORD";
/// Tag of every child and its descendants: process id and start time of the owner.
pub(crate) const OWNER: &str = "SUBPROCESS_OWNER";

/// Returns the owner tag of this process's children. Without a start time there is none: the children are then not
/// found when this process is killed.
pub(crate) fn owner_tag() -> Option<&'static str> {
    static OWN: OnceLock<Option<String>> = OnceLock::new();
    let own = || {
        Process::current()
            .ok()
            .map(|own| format!("{} {}", own.pid, own.start_time))
    };
    OWN.get_or_init(own).as_deref()
}

/// A child whose owner was killed before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The child or one of its descendants.
    pub process: Process,
    /// Program and arguments.
    pub command: String,
    /// Process that started the child.
    pub owner: Process,
}

impl Process {
    /// Returns the running processes that were started with a record in `folder` or below it, and their descendants,
    /// even if the record was never written. The path must be the one that was given at the start.
    #[must_use]
    pub fn tagged(folder: &Path) -> Vec<Self> {
        let own = std::process::id();
        tagged(RECORD)
            .into_iter()
            .filter(|(pid, record)| *pid != own && Path::new(record).starts_with(folder))
            .filter_map(|(pid, _)| Self::find(pid))
            .collect()
    }
}

impl Orphan {
    /// Returns all orphans that this user may inspect. Recorded children are none: they may outlive their owner. Nor are
    /// daemons that a child started: they serve others, too. Linux only; empty elsewhere.
    #[must_use]
    pub fn all() -> Vec<Self> {
        Self::owned_by(|owner| !owner.is_alive())
    }

    /// Returns the live children of this process, which become orphans if it exits now. Linux only; empty elsewhere.
    #[must_use]
    pub fn live_children() -> Vec<Self> {
        let own = Process::current().ok();
        Self::owned_by(|owner| Some(owner) == own.as_ref())
    }

    fn owned_by(matches: impl Fn(&Process) -> bool) -> Vec<Self> {
        let recorded: Vec<u32> = tagged(RECORD).into_iter().map(|(pid, _)| pid).collect();
        let owned = tagged(OWNER);
        let is_owned = |pid| owned.iter().any(|(other, _)| *other == pid);
        owned
            .iter()
            .filter(|(pid, _)| !recorded.contains(pid))
            // A daemon begins a session of its own; a child that only leads a group stays in its owner's session.
            .filter(|(pid, _)| Stat::of(*pid).is_some_and(|stat| !is_owned(stat.session)))
            .filter_map(|(pid, owner)| {
                let (owner_pid, started) = owner.split_once(' ')?;
                let owner = Process {
                    pid: owner_pid.parse().ok()?,
                    start_time: started.to_owned(),
                };
                matches(&owner).then_some(())?;
                Some(Self {
                    process: Process::find(*pid)?,
                    command: proc::read(format!("{pid}/cmdline"))
                        .unwrap_or_default()
                        .replace('\0', " ")
                        .trim()
                        .to_owned(),
                    owner,
                })
            })
            .collect()
    }
}

/// Ids of all processes with the variable in their environment, as far as we may read it, and its value.
#[cfg(target_os = "linux")]
fn tagged(name: &str) -> Vec<(u32, String)> {
    proc::pids()
        .into_iter()
        .filter_map(|pid| {
            let environment = proc::read(format!("{pid}/environ"))?;
            let value = environment
                .split('\0')
                .find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))?;
            Some((pid, value.to_owned()))
        })
        .collect()
}

/// `ps -E` prints the environment after the command, separated by spaces: a value with a space is cut.
#[cfg(not(target_os = "linux"))]
fn tagged(name: &str) -> Vec<(u32, String)> {
    use std::process::{Command, Stdio};

    let mut command = Command::new("ps");
    command
        .args(["-A", "-ww", "-E", "-o", "pid=,command="])
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let Ok(output) = command.output() else {
        return Vec::new();
    };
    tags_of_ps(name, &String::from_utf8_lossy(&output.stdout))
}

#[cfg(any(test, not(target_os = "linux")))]
fn tags_of_ps(name: &str, text: &str) -> Vec<(u32, String)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next()?.parse().ok()?;
            let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
            Some((pid, value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_from_the_output_of_ps() {
        let text = "    1 /sbin/launchd\n 4711 redis-server *:6379 HOME=/root SUBPROCESS_RECORD=/run/redis.json A=b\n";
        assert_eq!(tags_of_ps(RECORD, text), [(4711, "/run/redis.json".to_owned())]);
    }
}
