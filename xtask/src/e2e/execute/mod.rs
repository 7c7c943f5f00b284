//! Carries out the steps of a plan.

mod command;
mod files;
mod finish;
mod http;
mod local;
mod ready;
mod remote;
mod scenarios;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use subprocess::Cancel;
use taskgraph::{Context, Ending};

pub(crate) use self::{
    finish::Policy,
    scenarios::{BEGUN, Outcome, Scenario, ScenariosFailed, word},
};
use super::{
    fault::{Moment, Trigger},
    measure::{Memory, Meter},
    plan::{Step, Work},
    settings::Settings,
};
use crate::{
    command::tag_of,
    doctor, elf,
    ports::Reserved,
    run_folder::{Provider, RunFolder},
};

/// What the steps of a run share.
pub(crate) struct World<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) folder: &'a RunFolder,
    pub(crate) reserved: Reserved,
    pub(crate) secrets: BTreeMap<String, String>,
    /// The version of each service, once it is known.
    tags: Mutex<BTreeMap<String, String>>,
    /// How each scenario ended, in the order of their ends.
    scenarios: Mutex<Vec<Scenario>>,
    /// Processes that were started and have not answered yet.
    starting: Mutex<BTreeMap<String, subprocess::Child>>,
    pub(crate) finish: Policy,
    trigger: Arc<Trigger>,
    memory: Memory,
}

/// What a step needs of the task that it belongs to.
pub(super) struct Place<'a> {
    context: &'a Context,
    cancel: &'a Cancel,
}

impl<'a> World<'a> {
    pub(crate) fn new(
        settings: &'a Settings,
        folder: &'a RunFolder,
        reserved: Reserved,
        finish: Policy,
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
            finish,
            trigger: Arc::new(trigger),
            memory: Memory::start(),
        })
    }

    /// Does a task of the plan, and notes what it used.
    pub(crate) fn perform(&self, context: &Context, work: &Work) -> anyhow::Result<Ending> {
        let meter = Meter::new(context, &self.trigger);
        let _watching = subprocess::watch_children(meter.clone());
        self.memory.add(&meter);
        self.trigger.reached(context.name(), Moment::Begin);
        let ending = self.steps(context, work);
        self.memory.remove(&meter);
        meter.tell();
        ending
    }

    fn steps(&self, context: &Context, work: &Work) -> anyhow::Result<Ending> {
        let cancel = Cancel::new();
        let thrown = cancel.clone();
        let _guard = context.on_cancel(move || thrown.cancel());
        let place = Place {
            context,
            cancel: &cancel,
        };
        let mut skipped = None;
        let mut did_something = false;
        for (index, step) in work.steps.iter().enumerate() {
            context.check()?;
            match self.step(&place, step)? {
                Did::Something => did_something = true,
                Did::Nothing(why) => skipped = Some(why),
                Did::Preparation => {}
            }
            if (index + 1) * 2 >= work.steps.len() {
                self.trigger.reached(context.name(), Moment::Middle);
            }
        }
        Ok(match skipped {
            Some(why) if !did_something => Ending::Skipped(why),
            _ => Ending::Done,
        })
    }

    /// How the scenarios ended.
    pub(crate) fn into_scenarios(self) -> Vec<Scenario> {
        self.scenarios
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, place: &Place<'_>, step: &Step) -> anyhow::Result<Did> {
        match step {
            Step::Preflight => self.preflight(),
            Step::Run {
                command,
                unless,
                seconds,
            } => self.run(place, command, unless.as_ref(), *seconds),
            Step::Pipe {
                from,
                into,
                unless,
                seconds,
            } => self.pipe(place, from, into, unless.as_ref(), *seconds),
            Step::Until { test, what, seconds } => self.until(place, test, what, *seconds),
            Step::Reach { milestone } => {
                place.context.reach(milestone)?;
                Ok(Did::Preparation)
            }
            Step::Fits {
                programs,
                glibc,
                otherwise,
            } => self.fits(place, programs, glibc, otherwise),
            Step::Take { program, to } => files::take(program, to),
            Step::Tag {
                service,
                program,
                dockerfile,
                base,
            } => self.tag(place, service, program, dockerfile.as_deref(), base.as_ref()),
            Step::Stage { program, folder } => files::stage(program, folder),
            Step::Sources { folder } => self.copy_sources(place, folder),
            Step::Write { to, text } => files::write(to, text),
            Step::Release { ports } => {
                self.reserved.release(ports.iter().copied());
                Ok(Did::Preparation)
            }
            Step::Render { entry, kinds, to } => self.render(entry, kinds, to),
            Step::Config {
                service,
                to,
                as_object,
            } => self.config(service, to, *as_object),
            Step::Secrets { to, as_object } => self.write_secrets(to, *as_object),
            Step::Ready {
                entry,
                get,
                logs,
                seconds,
            } => self.ready(place, entry, get, logs, *seconds),
            Step::Answers {
                name,
                url,
                version,
                seconds,
            } => self.answers(place, name, url, version.as_deref(), *seconds),
            Step::Embedded { name } => self.start_embedded(name),
            Step::Put { file } => self.put(place, file),
            Step::Start { name, command } => self.start(name, command),
            Step::StackFile { to } => self.stack_file(to),
            Step::Scenarios { command } => self.run_scenarios(place, command),
            Step::Collect { commands, seconds } => self.collect(place, commands, *seconds),
            Step::CopyContext { from, to } => self.copy_context(place, from, to),
            Step::ImageTag { name, inspect } => self.image_tag(place, name, inspect),
            Step::ClusterScoped { to } => self.cluster_scoped(to),
            Step::Create { there, command } => self.create(place, there, command),
            Step::Listens { name, ports, seconds } => self.listens(place, name, ports, *seconds),
            Step::Teardown { commands, unless } => self.teardown(place, commands, unless.as_ref()),
        }
    }

    fn preflight(&self) -> anyhow::Result<Did> {
        let Settings {
            provider,
            node_image,
            kube_embedded,
            ..
        } = self.settings;
        if let Some(program) = kube_embedded.as_ref().filter(|_| *provider == Provider::Local)
            && !program.is_file()
        {
            anyhow::bail!(
                "the embedded Kubernetes API is not installed: there is no {}. Get it beside this program, from where \
                 this one came: cargo install --path crates/kube-embedded; or set KUBE_EMBEDDED_BIN to where it is",
                program.display()
            );
        }
        if let Some(remote) = &self.settings.remote {
            return remote::preflight(remote);
        }
        let support = doctor::provider_support(*provider, node_image.as_deref());
        if support.works() {
            return Ok(Did::Something);
        }
        anyhow::bail!("the provider {provider} can't run here: {}", support.why_not())
    }

    /// A text of the plan with each tag that is known by now.
    fn fill(&self, text: &str) -> String {
        let tags = self.tags();
        tags.iter().fold(text.to_owned(), |text, (service, tag)| {
            text.replace(&tag_of(service), tag)
        })
    }

    fn tags(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(
        &self,
        place: &Place<'_>,
        programs: &[std::path::PathBuf],
        glibc: &str,
        otherwise: &[Step],
    ) -> anyhow::Result<Did> {
        let Some(newest) = elf::parse_version(glibc) else {
            anyhow::bail!("{glibc} is no version of glibc");
        };
        let mut misfits = Vec::new();
        for program in programs {
            match elf::too_new(program, newest) {
                Ok(versions) if versions.is_empty() => {}
                Ok(versions) => {
                    misfits.push(format!("{} asks for {}", program.display(), versions.join(", ")))
                }
                Err(error) => misfits.push(format!("{error:#}")),
            }
        }
        if misfits.is_empty() {
            return Ok(Did::Preparation);
        }
        let misfits = misfits.join("\n  ");
        if otherwise.is_empty() {
            anyhow::bail!(
                "what this machine compiles does not start in the images, whose glibc is {glibc}:\n  {misfits}\n  \
                 let the builder image compile: --build container"
            );
        }
        place.context.note(format!(
            "compiled in the builder image, because the images have glibc {glibc}: {misfits}"
        ));
        for step in otherwise {
            place.context.check()?;
            self.step(place, step)?;
        }
        Ok(Did::Something)
    }
}

/// What became of a step.
pub(super) enum Did {
    /// It did its work.
    Something,
    /// There was nothing to do, and why.
    Nothing(String),
    /// It only prepared another step: whether the task was skipped is not decided by it.
    Preparation,
}

/// Asks again and again, until there is an answer or the deadline is over; the error says the last state.
///
/// `ask` gives `Ok(Ok(answer))`, or `Ok(Err(state))` as long as it is worth asking again.
pub(super) fn wait_until<T>(
    context: &Context,
    what: &str,
    limit: Duration,
    interval: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Result<T, String>>,
) -> anyhow::Result<T> {
    let deadline = std::time::Instant::now() + limit;
    loop {
        let state = match ask()? {
            Ok(answer) => return Ok(answer),
            Err(state) => state,
        };
        if std::time::Instant::now() >= deadline {
            anyhow::bail!(
                "waited {} s until {what}; the last state was: {state}",
                limit.as_secs()
            );
        }
        context.progress(&state);
        context.pause(interval)?;
    }
}
