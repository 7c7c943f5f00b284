//! Processes identified by process id and start time.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::proc::{self, Stat};

/// A process, identified by its id and its start time, since ids are reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Start time, only to be compared: on Linux the id of the boot and the clock ticks since then, elsewhere the time
    /// that `ps` prints.
    pub start_time: String,
}

impl Process {
    /// Returns the running process with this id. A zombie does not run.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        let start_time = start_time(pid)?;
        Some(Self { pid, start_time })
    }

    /// Returns this process.
    ///
    /// # Errors
    /// If there is neither /proc nor `ps`.
    pub fn current() -> io::Result<Self> {
        Self::find(std::process::id()).ok_or_else(|| {
            io::Error::other(
                "cannot read the start time of this process: neither /proc nor `ps` works; install procps",
            )
        })
    }

    /// Returns the running processes of these programs whose working folder is `folder` or below it. For servers that
    /// overwrite their environment, and with it their tags, by their title. Linux only; empty elsewhere.
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

    /// Kills the process group that it leads, or the process alone if it leads none.
    pub fn kill_group(&self) {
        if self.is_alive() {
            signal_group(self.pid, Signal::KILL);
            signal_process(self.pid, Signal::KILL);
        }
    }

    /// Waits for the exit; false if the process still runs after `limit`.
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

/// Waits until the process has exited or `limit` is over, or for 10 ms where the system cannot wait for a process that
/// is not a child: call it in a loop that checks.
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
    // After an error (a signal) the loop checks again.
    let _again = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout));
}

#[cfg(not(target_os = "linux"))]
fn wait_for_end(_pid: u32, limit: Duration) {
    std::thread::sleep(limit.min(Duration::from_millis(10)));
}

pub(crate) fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Signals every process of the group. An empty group is no error.
pub(crate) fn signal_group(pgid: u32, signal: Signal) {
    if let Some(group) = as_pid(pgid) {
        let _gone = rustix::process::kill_process_group(group, signal);
    }
}

/// Signals one process. A process that has exited is no error.
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
    use std::process::Command;

    use super::*;

    /// `Sat Nov 28 08:56:42 2026`, as `ps` prints start times.
    #[cfg(target_os = "linux")]
    fn date(seconds: u64) -> String {
        let output = Command::new("date")
            .args(["-u", "-d", &format!("@{seconds}"), "+%a %b %-d %H:%M:%S %Y"])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn ps_and_proc_report_the_same_start_time() {
        let own = std::process::id();
        let stat = proc::read("stat").unwrap();
        let boot: u64 = stat
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .unwrap()
            .parse()
            .unwrap();
        let started = boot + Stat::of(own).unwrap().start_ticks / rustix::param::clock_ticks_per_second();
        let ps = start_time_of_ps(own).unwrap();
        // Both round the time of the boot to seconds.
        let expected = [started - 1, started, started + 1].map(date);
        assert!(expected.contains(&ps), "{ps} is none of {expected:?}");
    }

    #[test]
    fn a_zombie_does_not_run() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        assert!(start_time(pid).is_some() && start_time_of_ps(pid).is_some());
        child.kill().unwrap();
        while start_time(pid).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(start_time_of_ps(pid), None);
        child.wait().unwrap();
        assert_eq!((start_time(pid), start_time_of_ps(pid)), (None, None));
    }
}
