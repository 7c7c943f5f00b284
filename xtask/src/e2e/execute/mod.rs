//! Runs the steps of a plan.

mod cluster;
mod command;
mod files;
mod finish;
mod http;
mod kind;
mod local;
mod ready;
mod scenarios;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use report::Scenario;
use subprocess::Cancel;
use taskgraph::{Context, Ending};

pub(crate) use self::{
    finish::Policy,
    scenarios::{RUNNING, ScenariosFailed},
};
use super::{
    fault::{Moment, Trigger},
    measure::{Memory, Meter},
    plan::{Action, Condition, Program, Step, Work},
    provider::Provider,
    settings::Settings,
};
use crate::{command::tag_of, elf, ports::Reserved, run_folder::RunFolder};

/// State that the steps of a run share.
pub(crate) struct RunContext<'a> {
    settings: &'a Settings,
    folder: &'a RunFolder,
    reserved: Reserved,
    secrets: BTreeMap<String, String>,
    /// Version of each service, once it is known.
    tags: Mutex<BTreeMap<String, String>>,
    /// Finished scenarios, in the order of their ends.
    scenarios: Mutex<Vec<Scenario>>,
    /// Started processes that are not ready yet.
    starting: Mutex<BTreeMap<String, subprocess::Child>>,
    policy: Policy,
    trigger: Arc<Trigger>,
    memory: Memory,
}

/// The task that a step belongs to, and the step's maximum duration.
#[derive(Clone, Copy)]
pub(super) struct StepContext<'a> {
    task: &'a Context,
    cancel: &'a Cancel,
    timeout: Duration,
}

impl<'a> RunContext<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        folder: &'a RunFolder,
        reserved: Reserved,
        policy: Policy,
        trigger: Trigger,
    ) -> anyhow::Result<Self> {
        let secrets = files::secrets(settings, &folder.path().join("secrets"))?;
        Ok(Self {
            settings,
            folder,
            reserved,
            secrets,
            tags: Mutex::default(),
            scenarios: Mutex::default(),
            starting: Mutex::default(),
            policy,
            trigger: Arc::new(trigger),
            memory: Memory::start(),
        })
    }

    /// Runs a task of the plan, and records its resource use.
    pub(crate) fn perform(&self, task: &Context, work: &Work) -> anyhow::Result<Ending> {
        let meter = Meter::new(task, &self.trigger);
        let _watching = subprocess::watch_children(meter.clone());
        self.memory.add(&meter);
        self.trigger.reached(task.name(), Moment::Begin);
        let ending = self.steps(task, work);
        self.memory.remove(&meter);
        meter.record();
        ending
    }

    fn steps(&self, task: &Context, work: &Work) -> anyhow::Result<Ending> {
        let cancel = Cancel::new();
        let fired = cancel.clone();
        let _guard = task.on_cancel(move || fired.cancel());
        let mut skipped = None;
        let mut is_done = false;
        for (index, step) in work.steps.iter().enumerate() {
            task.check()?;
            match self.step(task, &cancel, step)? {
                StepOutcome::Done => is_done = true,
                StepOutcome::Skipped(reason) => skipped = Some(reason),
                StepOutcome::Prepared => {}
            }
            if (index + 1) * 2 >= work.steps.len() {
                self.trigger.reached(task.name(), Moment::Middle);
            }
        }
        Ok(match skipped {
            Some(reason) if !is_done => Ending::Skipped(reason),
            _ => Ending::Done,
        })
    }

    /// Returns the finished scenarios.
    pub(crate) fn into_scenarios(self) -> Vec<Scenario> {
        self.scenarios
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, task: &Context, cancel: &Cancel, step: &Step) -> anyhow::Result<StepOutcome> {
        let Step {
            action,
            unless,
            timeout,
        } = step;
        let context = &StepContext {
            task,
            cancel,
            timeout: *timeout,
        };
        if let Some(reason) = self.skip_reason(context, unless.as_ref())? {
            return Ok(StepOutcome::Skipped(reason));
        }
        match action {
            Action::Preflight => self.preflight(),
            Action::Run { command, concurrent } => match self.run(context, command) {
                Err(error) if *concurrent => match self.skip_reason(context, unless.as_ref())? {
                    Some(reason) => Ok(StepOutcome::Skipped(reason)),
                    None => Err(error),
                },
                outcome => outcome,
            },
            Action::Pipe { from, into } => self.pipe(context, from, into),
            Action::Wait(condition) => self.wait(context, condition),
            Action::Milestone { name } => {
                context.task.reach(name)?;
                Ok(StepOutcome::Prepared)
            }
            Action::CheckGlibc {
                programs,
                glibc,
                otherwise,
            } => self.check_glibc(context, programs, glibc, otherwise),
            Action::Write { to, content } => self.write(context, to, content),
            Action::Tag { name, source } => self.tag(context, name, source),
            Action::ReleasePorts { ports } => {
                self.reserved.release(ports.iter().copied());
                Ok(StepOutcome::Prepared)
            }
            Action::Start { name, program } => match program {
                Program::Command(command) => self.start(name, command),
                Program::Embedded => self.start_embedded(name),
            },
            Action::Put { file } => self.put(context, file),
            Action::Scenarios { command } => self.run_scenarios(context, command),
            Action::Collect { commands } => self.collect(context, commands),
            Action::Teardown { steps } => self.teardown(context, steps),
        }
    }

    fn preflight(&self) -> anyhow::Result<StepOutcome> {
        match &self.settings.provider {
            Provider::Kind(kind) => kind::preflight(kind),
            Provider::Local(local) => local::preflight(local),
            Provider::Cluster(cluster) => cluster::preflight(cluster),
        }
    }

    fn wait(&self, context: &StepContext<'_>, condition: &Condition) -> anyhow::Result<StepOutcome> {
        match condition {
            Condition::Test { test, what } => {
                let interval = Duration::from_millis(200);
                wait_until(context, what, interval, || self.test(context, test))
            }
            Condition::Workload { entry, get, logs } => self.wait_workload(context, entry, get, logs),
            Condition::Http { name, url, version } => self.wait_http(context, name, url, version.as_deref()),
            Condition::Ports { name, ports } => self.wait_ports(context, name, ports),
        }?;
        Ok(StepOutcome::Done)
    }

    /// Returns a text of the plan with each known tag filled in.
    fn fill(&self, text: &str) -> String {
        let tags = self.tags();
        tags.iter().fold(text.to_owned(), |text, (service, tag)| {
            text.replace(&tag_of(service), tag)
        })
    }

    fn tags(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_glibc(
        &self,
        context: &StepContext<'_>,
        programs: &[PathBuf],
        glibc: &str,
        otherwise: &[Step],
    ) -> anyhow::Result<StepOutcome> {
        let Some(newest) = elf::parse_version(glibc) else {
            anyhow::bail!("invalid glibc version {glibc:?}");
        };
        let mut too_new = Vec::new();
        for program in programs {
            match elf::too_new(program, newest) {
                Ok(versions) if versions.is_empty() => {}
                Ok(versions) => too_new.push(format!("{} needs {}", program.display(), versions.join(", "))),
                Err(error) => too_new.push(format!("{error:#}")),
            }
        }
        if too_new.is_empty() {
            return Ok(StepOutcome::Prepared);
        }
        let too_new = too_new.join("\n  ");
        if otherwise.is_empty() {
            anyhow::bail!(
                "programs compiled on this machine cannot start in the images, which have glibc {glibc}:\n  \
                 {too_new}\n  compile in the builder image: --build container"
            );
        }
        context.task.note(format!(
            "compiled in the builder image, because the images have glibc {glibc}: {too_new}"
        ));
        for step in otherwise {
            context.task.check()?;
            self.step(context.task, context.cancel, step)?;
        }
        Ok(StepOutcome::Done)
    }
}

/// Outcome of a successful step.
pub(super) enum StepOutcome {
    Done,
    /// Nothing to do, with the reason.
    Skipped(String),
    /// Prepared another step; does not decide whether the task counts as skipped.
    Prepared,
}

/// Polls until there is a value or the step's timeout is over; the error contains the last state.
///
/// `poll` returns `Ok(Ok(value))`, or `Ok(Err(state))` to be called again.
pub(super) fn wait_until<T>(
    step: &StepContext<'_>,
    what: &str,
    interval: Duration,
    mut poll: impl FnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + step.timeout;
    loop {
        let state = match poll()? {
            Ok(value) => return Ok(value),
            Err(state) => state,
        };
        if Instant::now() >= deadline {
            anyhow::bail!(
                "timed out after {} s waiting for {what}; last state: {state}",
                step.timeout.as_secs()
            );
        }
        step.task.progress(&state);
        step.task.pause(interval)?;
    }
}
