//! Processes told apart by more than their number, and what the machine says of itself.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::proc::{self, Stat};

/// A process, told apart from a later one with the same number by when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started: on Linux the boot's id and the clock ticks since then, elsewhere the time as `ps` tells it.
    /// To be compared, not read.
    #[serde(rename = "start_time")]
    pub start_time: String,
}

impl Process {
    /// The process that has this number now, if it runs. One that has ended and only waits for its parent (a
    /// zombie) does not.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        let start_time = start_time(pid)?;
        Some(Self { pid, start_time })
    }

    /// This process.
    ///
    /// # Errors
    /// If the system does not tell (no /proc and no `ps`).
    pub fn current() -> io::Result<Self> {
        Self::find(std::process::id()).ok_or_else(|| {
            io::Error::other("neither /proc nor `ps` tells when this process started; install procps")
        })
    }

    /// The running processes of these programs that work in `folder` or below it. For servers that write their title
    /// over their environment, and a mark with it. Linux only; elsewhere none are found.
    #[must_use]
    pub fn working_in(folder: &Path, programs: &[&str]) -> Vec<Self> {
        proc::pids()
            .into_iter()
            .filter(|pid| {
                let name = proc::read(format!("{pid}/comm")).unwrap_or_default();
                let is_in_folder =
                    || proc::working_folder(*pid).is_some_and(|place| place.starts_with(folder));
                programs.contains(&name.as_str()) && is_in_folder()
            })
            .filter_map(Self::find)
            .collect()
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_time(self.pid).is_some_and(|started| started == self.start_time)
    }

    /// Kills the process group that it leads, or it alone if it leads none.
    pub fn kill_group(&self) {
        if self.is_alive() {
            signal_group(self.pid, Signal::KILL);
            signal_process(self.pid, Signal::KILL);
        }
    }

    /// Waits until it has ended; false if it still runs after `limit`.
    #[must_use]
    pub fn wait_for_exit(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            if !self.is_alive() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            wait_for_end(self.pid, left);
        }
    }
}

/// Waits until the process has ended or `limit` is over, or a little while where the system can't tell: call it
/// in a loop that looks.
#[cfg(target_os = "linux")]
fn wait_for_end(pid: u32, limit: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};

    let Some(descriptor) = as_pid(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return std::thread::sleep(limit.min(Duration::from_millis(10)));
    };
    let timeout = Timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    // An error (a signal) is one more turn of the caller's loop.
    let _again = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout));
}

#[cfg(not(target_os = "linux"))]
fn wait_for_end(_pid: u32, limit: Duration) {
    std::thread::sleep(limit.min(Duration::from_millis(10)));
}

pub(crate) fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Signals every process of the group. That there is none any more is no error.
pub(crate) fn signal_group(pgid: u32, signal: Signal) {
    if let Some(group) = as_pid(pgid) {
        let _gone = rustix::process::kill_process_group(group, signal);
    }
}

/// Signals one process. That it is gone is no error.
pub(crate) fn signal_process(pid: u32, signal: Signal) {
    if let Some(pid) = as_pid(pid) {
        let _gone = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    start_time_of_proc(pid)
}

#[cfg(not(target_os = "linux"))]
fn start_time(pid: u32) -> Option<String> {
    start_time_of_ps(pid)
}

#[cfg(target_os = "linux")]
fn start_time_of_proc(pid: u32) -> Option<String> {
    let stat = Stat::of(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X' | 'x'))?;
    let boot = proc::read("sys/kernel/random/boot_id").unwrap_or_default();
    Some(format!("{boot}:{}", stat.start_ticks))
}

/// For systems without /proc.
#[cfg(any(test, not(target_os = "linux")))]
fn start_time_of_ps(pid: u32) -> Option<String> {
    use std::process::{Command, Stdio};

    let output = Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ps_and_proc_agree_on_who_runs() {
        let own = std::process::id();
        assert_eq!(start_time(own), start_time(own));
        assert!(
            start_time_of_ps(own).is_some(),
            "ps tells nothing of this process"
        );
        let mut short = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(start_time(short.id()).is_some());
        short.kill().unwrap();
        // Not reaped yet: a zombie.
        while start_time(short.id()).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(start_time_of_ps(short.id()), None);
        short.wait().unwrap();
        assert_eq!(start_time_of_ps(short.id()), None);
    }
}
