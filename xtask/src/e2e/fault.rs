//! Stops the runner itself at a task, to prove that it leaves nothing behind.

use std::{str::FromStr, sync::OnceLock};

use rustix::process::{Signal, getpid, kill_process};
use taskgraph::Interrupt;

use super::plan::Plan;

use subprocess::eprint_line;

/// How the runner is stopped, when, and at which task: `HOW:WHEN:TASK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    how: How,
    when: Moment,
    task: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// SIGKILL: no cleanup is possible.
    Kill,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
    /// SIGINT twice: exit at once.
    Leave,
}

/// A point within a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before its first step.
    Begin,
    /// While its first child runs, or for a task without children after half of its steps.
    Middle,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "invalid fault {text:?}: expected HOW:WHEN:TASK with HOW kill, interrupt or leave, and WHEN begin or middle"
            )
        };
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or_else(expected);
        let (how, when, task) = (next()?, next()?, next()?);
        let how = match how {
            "kill" => How::Kill,
            "interrupt" => How::Interrupt,
            "leave" => How::Leave,
            _ => return Err(expected()),
        };
        let when = match when {
            "begin" => Moment::Begin,
            "middle" => Moment::Middle,
            _ => return Err(expected()),
        };
        let task = task.to_owned();
        Ok(Self { how, when, task })
    }
}

impl Fault {
    /// Fails if the plan lacks its task: a fault that never fires would prove nothing.
    pub(crate) fn check(&self, plan: &Plan) -> anyhow::Result<()> {
        let mut tasks = plan.tasks.iter().map(|task| task.name.as_str());
        if tasks.any(|task| task == self.task) {
            return Ok(());
        }
        anyhow::bail!("--fault: unknown task {:?}; --plan lists the tasks", self.task)
    }
}

/// Fires a fault once, at its moment.
pub(crate) struct Trigger {
    fault: Option<Fault>,
    interrupt: Interrupt,
    fired: OnceLock<()>,
}

impl Trigger {
    pub(crate) fn new(fault: Option<Fault>, interrupt: Interrupt) -> Self {
        Self {
            fault,
            interrupt,
            fired: OnceLock::new(),
        }
    }

    /// Sends SIGINT and waits until it is handled, since a short task could finish first.
    fn interrupt(&self) {
        signal(Signal::INT);
        while !self.interrupt.is_cancelled() {
            std::thread::yield_now();
        }
    }

    /// Fires the fault if a task has reached the fault's moment.
    pub(crate) fn reached(&self, task: &str, moment: Moment) {
        let Some(fault) = self.fault.as_ref() else { return };
        if fault.task != task || fault.when != moment || self.fired.set(()).is_err() {
            return;
        }
        eprint_line(format!(
            "--fault: {:?} at the {:?} of {task}",
            fault.how, fault.when
        ));
        match fault.how {
            How::Kill => signal(Signal::KILL),
            How::Interrupt => self.interrupt(),
            How::Leave => {
                // Two pending signals of a kind are merged: the first one must have been handled.
                self.interrupt();
                signal(Signal::INT);
            }
        }
    }
}

fn signal(signal: Signal) {
    if let Err(error) = kill_process(getpid(), signal) {
        eprint_line(format!("--fault: cannot signal this process: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_task_name_with_colons_and_rejects_other_forms() {
        let fault: Fault = "kill:middle:image:gateway".parse().unwrap();
        assert_eq!(
            (fault.how, fault.when, fault.task.as_str()),
            (How::Kill, Moment::Middle, "image:gateway")
        );
        for wrong in ["kill:middle", "kill:end:check", "stop:begin:check", "kill:begin:"] {
            let error = wrong.parse::<Fault>().unwrap_err();
            assert!(error.contains("HOW:WHEN:TASK"), "{error}");
        }
    }
}
