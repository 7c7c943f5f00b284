//! Running children: waiting, ending the group, reaping.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use wait4::Wait4 as _;

use crate::cancel::Cancel;
use crate::failure::{Failure, Outcome};
use crate::output::{Gatherer, Output};
use crate::process::{signal_group, signal_process};
use crate::watch::{self, Usage, Watch};

#[derive(Default)]
struct State {
    /// Set after the child was reaped; from then on its process id may be reused.
    exit: Option<Result<ExitStatus, String>>,
    /// Why the child is being ended, and when it will be killed.
    stopping: Option<(Outcome, Instant)>,
    killed: bool,
}

struct Shared {
    pid: u32,
    /// Stop signal for the leader alone; without one SIGTERM goes to the whole group.
    stop_signal: Option<Signal>,
    grace: Duration,
    state: Mutex<State>,
    changed: Condvar,
    watch: Option<Arc<dyn Watch>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the stop signal, once; `wait` kills the group when the grace period is over.
    fn end(&self, reason: Outcome, grace: Duration) {
        let mut state = self.lock();
        if state.exit.is_some() || state.stopping.is_some() {
            return;
        }
        state.stopping = Some((reason, Instant::now() + grace));
        // Under the lock: the child has not been reaped, so that its process id is not reused yet.
        match self.stop_signal {
            Some(signal) => signal_process(self.pid, signal),
            None => signal_group(self.pid, Signal::TERM),
        }
        self.changed.notify_all();
    }

    fn kill(&self, reason: Outcome) {
        let mut state = self.lock();
        self.kill_locked(&mut state, reason);
    }

    fn kill_locked(&self, state: &mut State, reason: Outcome) {
        if state.exit.is_some() || state.killed {
            return;
        }
        state.stopping.get_or_insert_with(|| (reason, Instant::now()));
        state.killed = true;
        signal_group(self.pid, Signal::KILL);
        self.changed.notify_all();
    }

    /// Waits for the exit. Ends the child when `deadline` is over, and kills it when the grace period is.
    fn wait(&self, deadline: Option<(Duration, Instant)>) {
        let mut state = self.lock();
        while state.exit.is_none() {
            let until = match (&state.stopping, deadline) {
                (Some(_), _) if state.killed => None,
                (Some((_, kill_at)), _) => Some(*kill_at),
                (None, Some((_, at))) => Some(at),
                (None, None) => None,
            };
            let Some(until) = until else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                state = self
                    .changed
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            } else if state.stopping.is_some() {
                self.kill_locked(&mut state, Outcome::Stopped);
            } else if let Some((limit, _)) = deadline {
                drop(state);
                self.end(Outcome::Deadline(limit), self.grace);
                state = self.lock();
            }
        }
    }

    /// Waits for the exit for at most `limit`; true if the child has exited.
    fn wait_for(&self, limit: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| state.exit.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.exit.is_some()
    }
}

/// Handle that ends a child's process group. Cheap to clone; does nothing after the child has exited.
#[derive(Clone)]
pub struct Killer(Arc<Shared>);

impl fmt::Debug for Killer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Killer").field(&self.0.pid).finish()
    }
}

impl Killer {
    /// Sends the stop signal and returns at once; the call that waits for the child kills the group when the grace
    /// period is over. The child's failure is [`Outcome::Cancelled`].
    pub fn cancel(&self) {
        self.0.end(Outcome::Cancelled, self.0.grace);
    }

    /// Sends SIGKILL to the group and returns at once.
    pub fn kill(&self) {
        self.0.kill(Outcome::Stopped);
    }
}

/// A running child, the leader of its own process group.
///
/// On drop the group is killed and the child reaped, unless it was [detached](Self::detach).
pub struct Child {
    shared: Arc<Shared>,
    name: String,
    command: String,
    gatherer: Gatherer,
    begin: Instant,
    deadline: Option<(Duration, Instant)>,
    detached: bool,
}

impl fmt::Debug for Child {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Child")
            .field("name", &self.name)
            .field("pid", &self.shared.pid)
            .finish()
    }
}

/// How a child is ended.
pub(crate) struct Ending {
    pub(crate) deadline: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) stop_signal: Option<Signal>,
}

impl Child {
    pub(crate) fn adopt(
        mut process: process::Child,
        name: String,
        command: String,
        gatherer: Gatherer,
        ending: &Ending,
    ) -> std::io::Result<Self> {
        let begin = Instant::now();
        let shared = Arc::new(Shared {
            pid: process.id(),
            stop_signal: ending.stop_signal,
            grace: ending.grace,
            state: Mutex::default(),
            changed: Condvar::new(),
            watch: watch::current(),
        });
        if let Some(watch) = &shared.watch {
            watch.started(shared.pid);
        }
        let deadline = ending.deadline.map(|limit| (limit, begin + limit));
        let child = Self {
            shared,
            name,
            command,
            gatherer,
            begin,
            deadline,
            detached: false,
        };
        let shared = Arc::clone(&child.shared);
        let (sender, receiver) = std::sync::mpsc::sync_channel::<process::Child>(1);
        let reaper = thread::Builder::new().name("reaper".to_owned()).spawn(move || {
            if let Ok(process) = receiver.recv() {
                reap(process, &shared);
            }
        });
        match reaper {
            Ok(_) => {
                let _reaper_waits_for_it = sender.send(process);
                Ok(child)
            }
            Err(error) => {
                // Without a thread that reaps the child nothing would notice its exit: end it here.
                signal_group(process.id(), Signal::KILL);
                let exit = process.wait().map_err(|error| error.to_string());
                child.shared.lock().exit = Some(exit);
                Err(error)
            }
        }
    }

    /// Returns the process id of the leader, which is also the id of the group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.shared.pid
    }

    /// Returns the exact command, quoted for a shell, without secrets.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Returns a handle that ends the group.
    #[must_use]
    pub fn killer(&self) -> Killer {
        Killer(Arc::clone(&self.shared))
    }

    /// Whether the child has not exited yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.shared.lock().exit.is_none()
    }

    /// Waits for at most `limit`; true if the child has exited. For the pause between two readiness probes of a
    /// server, which ends early when the server exits.
    #[must_use]
    pub fn ends_within(&self, limit: Duration) -> bool {
        self.shared.wait_for(limit)
    }

    /// Waits for the exit. Success is exit code 0.
    ///
    /// # Errors
    /// [`Failure`] for any other exit, for a cancellation and for a passed deadline.
    pub fn wait(mut self, cancel: &Cancel) -> Result<Output, Failure> {
        self.wait_mut(cancel);
        self.result()
    }

    pub(crate) fn wait_mut(&self, cancel: &Cancel) {
        let killer = self.killer();
        let _guard = cancel.on_cancel(move || killer.cancel());
        self.shared.wait(self.deadline);
    }

    /// Sends the stop signal, kills the group when `grace` is over, and returns after the exit, with the last lines of
    /// the output.
    pub fn terminate(mut self, grace: Duration) -> Vec<String> {
        self.shared.end(Outcome::Stopped, grace);
        self.shared.wait(None);
        self.gatherer.finish().last_lines
    }

    /// Kills the group and returns after the exit.
    pub fn kill(self) {
        self.shared.kill(Outcome::Stopped);
        self.shared.wait(None);
    }

    /// Lets the child outlive this process. Its record ([`crate::Command::record`]) finds it again.
    pub fn detach(mut self) {
        self.detached = true;
    }

    /// Returns why a child that should still run has exited. For a child that still runs the reason is `outcome`, for
    /// example a deadline for its readiness.
    #[must_use]
    pub fn failure(&mut self, outcome: Outcome) -> Failure {
        let outcome = self.outcome().unwrap_or(outcome);
        let collected = if self.is_running() {
            self.gatherer.so_far()
        } else {
            self.gatherer.finish()
        };
        Failure::new(self.name.clone(), self.command.clone(), outcome)
            .with_log(collected.last_lines, self.gatherer.log_path())
    }

    fn outcome(&self) -> Option<Outcome> {
        let state = self.shared.lock();
        let exit = state.exit.as_ref()?;
        Some(match (&state.stopping, exit) {
            (Some((reason, _)), _) => reason.clone(),
            (None, Ok(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => Outcome::Exit(code),
                (None, signal) => Outcome::Signal(signal.unwrap_or_default()),
            },
            (None, Err(error)) => Outcome::NotStarted(format!("cannot wait for it: {error}")),
        })
    }

    /// Returns the result after the exit.
    pub(crate) fn result(&mut self) -> Result<Output, Failure> {
        let collected = self.gatherer.finish();
        let outcome = match (self.outcome(), collected.log_error) {
            (Some(Outcome::Exit(0)), None) => {
                return Ok(Output {
                    stdout: collected.captured,
                    last_lines: collected.last_lines,
                    duration: self.begin.elapsed(),
                });
            }
            (Some(Outcome::Exit(0)), Some(error)) => {
                Outcome::NotStarted(format!("cannot write its log: {error}"))
            }
            (outcome, _) => outcome.unwrap_or(Outcome::Stopped),
        };
        Err(Failure::new(self.name.clone(), self.command.clone(), outcome)
            .with_log(collected.last_lines, self.gatherer.log_path()))
    }

    /// Returns the path of the log.
    #[must_use]
    pub fn log(&self) -> Option<std::path::PathBuf> {
        self.gatherer.log_path()
    }

    /// Kills the child because its record could not be written.
    pub(crate) fn fail(mut self, reason: String, path: &Path) -> Failure {
        self.shared
            .kill(Outcome::NotStarted(format!("{}: {reason}", path.display())));
        self.shared.wait(None);
        self.failure(Outcome::Stopped)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.detached && self.is_running() {
            self.shared.kill(Outcome::Stopped);
            self.shared.wait(None);
        }
    }
}

/// Waits for the exit of the leader, kills the rest of its group, and reaps the leader.
fn reap(mut process: process::Child, shared: &Shared) {
    // Without reaping: until then the process id is not reused, so that no signal reaches another process.
    let clean = loop {
        match Pid::from_raw(shared.pid.cast_signed())
            .map(|pid| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))
        {
            Some(Err(rustix::io::Errno::INTR)) => {}
            Some(Ok(Some(status))) => break status.exit_status() == Some(0),
            _ => break false,
        }
    };
    let mut state = shared.lock();
    // After a success the rest of the group stays: the leader started a server in the background.
    if state.stopping.is_some() || !clean {
        signal_group(shared.pid, Signal::KILL);
    }
    let ended = process.wait4();
    if let (Some(watch), Ok(ended)) = (&shared.watch, &ended) {
        let usage = Usage {
            cpu: ended.rusage.utime + ended.rusage.stime,
            peak_bytes: ended.rusage.maxrss,
        };
        watch.ended(shared.pid, usage);
    }
    state.exit = Some(ended.map(|ended| ended.status).map_err(|error| error.to_string()));
    shared.changed.notify_all();
}
