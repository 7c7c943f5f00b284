//! What nobody owns any more. Only judges; nothing is looked up but whether owners are alive.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use embedded::Instance;
use subprocess::Orphan;

use super::machine::{Image, Machine};
use crate::run_folder::{Entry, Owner, RunFolder, State};

/// Finished runs whose reports stay: the end of a run compares itself with the earlier ones.
const REPORTS: usize = 20;

/// Images of a service that stay: a run on sources that were built before needs no build.
const IMAGES: usize = 5;

/// Something that nobody owns any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// A process that was to end with its owner, such as a compiler.
    Orphan(Orphan),
    /// A server of a test or run.
    Instance(Instance),
    /// The processes of a run, by their records in its folder.
    Processes(PathBuf),
    /// A kind cluster.
    Cluster(String),
    /// A container.
    Container(String),
    /// A network.
    Network(String),
    /// An image that only one run used, or that newer ones of the same service have followed.
    Image(String),
    /// A run's folder, and its entry in the index.
    Folder(RunFolder),
    /// The index's entry of a run without a folder.
    Entry(String),
}

/// Garbage, and why it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) garbage: Garbage,
    pub(crate) why: String,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.garbage {
            Garbage::Orphan(Orphan { process, command, .. }) => {
                let short: String = command.chars().take(60).collect();
                write!(formatter, "process {} ({short})", process.pid)
            }
            Garbage::Instance(instance) => {
                write!(formatter, "{} in {}", instance.kind, instance.folder().display())
            }
            Garbage::Processes(folder) => write!(formatter, "the processes of {}", folder.display()),
            Garbage::Cluster(name) => write!(formatter, "cluster {name}"),
            Garbage::Container(name) => write!(formatter, "container {name}"),
            Garbage::Network(name) => write!(formatter, "network {name}"),
            Garbage::Image(name) => write!(formatter, "image {name}"),
            Garbage::Folder(run) => write!(formatter, "folder {}", run.path().display()),
            Garbage::Entry(run) => write!(formatter, "the note of run {run}"),
        }?;
        write!(formatter, ": {}", self.why)
    }
}

/// Something that looks like a run's and is not ours to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// What is known of a run.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// Somebody works on it.
    Live,
    /// Left standing on purpose.
    Kept,
    /// Nobody needs what it made; why.
    Garbage(String),
    /// No folder and no note of it.
    Unknown,
}

/// Sorts what there is: garbage, in the order in which it is to be removed, and what is left alone for a reason that
/// the user should know. `kept` also gives up what was left standing on purpose.
pub(crate) fn judge(machine: &Machine, kept: bool) -> (Vec<Found>, Vec<Left>) {
    let mut found = Vec::new();
    let mut left = Vec::new();
    // Judged first and removed last: if an owner dies meanwhile, its processes are found, or its folder stays.
    let mut last = Vec::new();
    folders(machine, kept, &mut last);
    found.extend(machine.orphans.iter().map(|orphan| Found {
        garbage: Garbage::Orphan(orphan.clone()),
        why: dead(orphan.owner.pid),
    }));
    instances(machine, kept, &mut found);
    for run in &machine.runs {
        if let Known::Garbage(why) = known(machine, run.run(), kept)
            && run.owner().state != State::Finished
        {
            found.push(Found {
                garbage: Garbage::Processes(run.path().to_owned()),
                why,
            });
        }
    }
    podmans(machine, kept, &mut found, &mut left);
    found.extend(last);
    (found, left)
}

fn instances(machine: &Machine, kept: bool, found: &mut Vec<Found>) {
    for instance in &machine.instances {
        let run = instance
            .belongs_to
            .as_deref()
            .and_then(Path::file_name)
            .map(|run| run.to_string_lossy());
        let why = match run.map(|run| known(machine, &run, kept)) {
            _ if instance.owner.is_alive() => None,
            _ if instance.is_abandoned() => Some(dead(instance.owner.pid)),
            Some(Known::Garbage(why)) => Some(why),
            _ => None,
        };
        if let Some(why) = why {
            found.push(Found {
                garbage: Garbage::Instance(instance.clone()),
                why,
            });
        }
    }
}

/// Everything of a run in podman has a name that begins with its cluster's.
fn podmans(machine: &Machine, kept: bool, found: &mut Vec<Found>, left: &mut Vec<Left>) {
    let mut clusters: Vec<&String> = machine
        .containers
        .iter()
        .filter_map(|container| container.cluster.as_ref())
        .collect();
    clusters.sort();
    clusters.dedup();
    let containers = machine
        .containers
        .iter()
        .filter(|container| container.cluster.is_none());
    let things = clusters
        .into_iter()
        .map(|name| (name, Garbage::Cluster(name.clone())))
        .chain(containers.map(|container| (&container.name, Garbage::Container(container.name.clone()))))
        .chain(
            machine
                .networks
                .iter()
                .map(|name| (name, Garbage::Network(name.clone()))),
        );
    for (name, garbage) in things {
        let Some(run) = run_of(name) else { continue };
        match known(machine, run, kept) {
            Known::Garbage(why) => found.push(Found { garbage, why }),
            Known::Unknown => left.push(Left {
                what: Found {
                    garbage,
                    why: format!("looks like run {run}'s"),
                }
                .to_string(),
                why: "no note of its owner; if nobody needs it, remove it with podman".to_owned(),
            }),
            Known::Live | Known::Kept => {}
        }
    }
    images(machine, kept, found);
}

fn images(machine: &Machine, kept: bool, found: &mut Vec<Found>) {
    for Image { name, .. } in &machine.images {
        // localhost/STACK-builder:RUN
        let run = name
            .rsplit_once("-builder:")
            .map(|(_, run)| run)
            .filter(|run| is_id(run));
        if let Some(run) = run
            && let Known::Garbage(why) = known(machine, run, kept)
        {
            found.push(Found {
                garbage: Garbage::Image(name.clone()),
                why,
            });
        }
    }
    let followed = followed(machine, kept).into_iter().map(|name| Found {
        garbage: Garbage::Image(name.clone()),
        why: format!("older than the newest {IMAGES} of this service"),
    });
    found.extend(followed);
}

/// Images `HOST/STACK-SERVICE:HASH` of stacks that ran here, which newer ones have followed. A node has its own copy, so
/// that only a run that is at work may still need one.
fn followed(machine: &Machine, kept: bool) -> Vec<&String> {
    let owners = || {
        let indexed = machine.index.values().map(|entry| &entry.owner);
        machine.runs.iter().map(RunFolder::owner).chain(indexed)
    };
    let at_work = |stack: &str| {
        let mut runs = owners().filter(|owner| owner.stack == stack);
        runs.any(|owner| known(machine, &owner.run, kept) == Known::Live)
    };
    let stacks: BTreeSet<&str> = owners()
        .map(|owner| owner.stack.as_str())
        .filter(|stack| !at_work(stack))
        .collect();
    let mut services: BTreeMap<&str, Vec<&Image>> = BTreeMap::new();
    for image in &machine.images {
        let Some((service, tag)) = image.name.rsplit_once(':') else {
            continue;
        };
        let last = service.rsplit('/').next().unwrap_or(service);
        let ours = stacks
            .iter()
            .any(|stack| last.strip_prefix(stack).is_some_and(|rest| rest.starts_with('-')));
        if ours && tag.len() == 12 && tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            services.entry(service).or_default().push(image);
        }
    }
    let old = services.into_values().flat_map(|mut images| {
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        images.into_iter().skip(IMAGES)
    });
    old.map(|image| &image.name).collect()
}

fn folders(machine: &Machine, kept: bool, found: &mut Vec<Found>) {
    let finished = machine
        .runs
        .iter()
        .filter(|run| run.owner().state == State::Finished)
        .count();
    let mut old_reports = finished.saturating_sub(REPORTS);
    for run in &machine.runs {
        let why = match run.owner().state {
            State::Finished if old_reports > 0 => {
                old_reports -= 1;
                Some(format!("a report older than the newest {REPORTS}"))
            }
            State::Finished => None,
            _ => match known(machine, run.run(), kept) {
                Known::Garbage(why) => Some(why),
                _ => None,
            },
        };
        if let Some(why) = why {
            found.push(Found {
                garbage: Garbage::Folder(run.clone()),
                why,
            });
        }
    }
    for (run, entry) in &machine.index {
        if machine.runs.iter().any(|ours| ours.run() == run) {
            continue;
        }
        if let Known::Garbage(why) = known(machine, run, kept) {
            // Another checkout's run has its folder there.
            let garbage = match RunFolder::open(&entry.folder, &machine.index_folder) {
                Ok(run) => {
                    found.push(Found {
                        garbage: Garbage::Processes(run.path().to_owned()),
                        why: why.clone(),
                    });
                    Garbage::Folder(run)
                }
                Err(_) => Garbage::Entry(run.clone()),
            };
            found.push(Found { garbage, why });
        }
    }
}

fn known(machine: &Machine, run: &str, kept: bool) -> Known {
    if let Some(ours) = machine.runs.iter().find(|ours| ours.run() == run) {
        let known = judge_owner(ours.owner(), true, kept);
        // Its process may have said that the run is finished, and ended, since the machine was looked at.
        let now = RunFolder::open(ours.path(), &machine.index_folder);
        return match known {
            Known::Garbage(_) if now.is_ok_and(|now| now.owner().state != ours.owner().state) => Known::Live,
            known => known,
        };
    }
    let Some(Entry { folder, owner }) = machine.index.get(run) else {
        return Known::Unknown;
    };
    match RunFolder::open(folder, &machine.index_folder) {
        // It may have been written since the note was.
        Ok(run) => judge_owner(run.owner(), true, kept),
        Err(_) => judge_owner(owner, false, kept),
    }
}

fn judge_owner(owner: &Owner, has_folder: bool, kept: bool) -> Known {
    match owner.state {
        State::Finished => Known::Garbage("its run is finished".to_owned()),
        _ if owner.process.is_alive() => Known::Live,
        State::Running => Known::Garbage(dead(owner.process.pid)),
        State::Kept if kept => Known::Garbage("kept, and --kept gives it up".to_owned()),
        State::Kept if !has_folder => Known::Garbage("kept, but its run's folder is gone".to_owned()),
        State::Kept => Known::Kept,
    }
}

fn dead(pid: u32) -> String {
    format!("its owner, process {pid}, is dead")
}

/// The run in a name such as `kubernaut-e2e-k3x9pq` or `kubernaut-e2e-k3x9pq-control-plane`.
fn run_of(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once("-e2e-")?;
    let run = rest.split('-').next()?;
    is_id(run).then_some(run)
}

fn is_id(text: &str) -> bool {
    text.len() == 6
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
