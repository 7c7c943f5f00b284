//! Decides what is garbage, by owners and their processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use embedded::Instance;
use subprocess::Orphan;

use super::machine::{Image, Machine};
use crate::run_folder::{Entry, Owner, RunFolder, State};

/// Kept reports of finished runs: a run compares itself with earlier ones.
const REPORTS: usize = 20;

/// Kept images of each service: a run on unchanged sources needs no build.
const IMAGES: usize = 5;

/// A leftover without a live owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// A process that must end with its owner, such as a compiler.
    Orphan(Orphan),
    /// A server of a test or run.
    Instance(Instance),
    /// Processes of a run, by the records in its folder.
    Processes(PathBuf),
    /// A kind cluster.
    Cluster(String),
    /// A container.
    Container(String),
    /// A network.
    Network(String),
    /// An image of one run, or superseded by newer images of the same service.
    Image(String),
    /// Folder of a run, and its entry in the index.
    Folder(RunFolder),
    /// Entry in the index of a run without a folder.
    Entry(String),
}

/// Garbage, and the reason.
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
            Garbage::Processes(folder) => write!(formatter, "processes of {}", folder.display()),
            Garbage::Cluster(name) => write!(formatter, "cluster {name}"),
            Garbage::Container(name) => write!(formatter, "container {name}"),
            Garbage::Network(name) => write!(formatter, "network {name}"),
            Garbage::Image(name) => write!(formatter, "image {name}"),
            Garbage::Folder(run) => write!(formatter, "folder {}", run.path().display()),
            Garbage::Entry(run) => write!(formatter, "index entry of run {run}"),
        }?;
        write!(formatter, ": {}", self.why)
    }
}

/// A skipped object: named like a run's, but without a known owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// Knowledge about a run.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// Its owner is alive.
    Live,
    /// Kept on purpose.
    Kept,
    /// Everything it created is garbage, with the reason.
    Garbage(String),
    /// No folder and no index entry.
    Unknown,
}

/// Returns the garbage in order of removal, and the skipped objects. `kept` includes kept runs.
pub(crate) fn judge(machine: &Machine, kept: bool) -> (Vec<Found>, Vec<Skipped>) {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
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
    podman_objects(machine, kept, &mut found, &mut skipped);
    found.extend(last);
    (found, skipped)
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

/// Names of a run's podman objects begin with the name of its cluster.
fn podman_objects(machine: &Machine, kept: bool, found: &mut Vec<Found>, skipped: &mut Vec<Skipped>) {
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
            Known::Unknown => skipped.push(Skipped {
                what: Found {
                    garbage,
                    why: format!("named like an object of run {run}"),
                }
                .to_string(),
                why: "unknown owner; if unused, remove it with podman".to_owned(),
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
    let superseded = superseded(machine, kept).into_iter().map(|name| Found {
        garbage: Garbage::Image(name.clone()),
        why: format!("older than the newest {IMAGES} of this service"),
    });
    found.extend(superseded);
}

/// Returns the superseded images `HOST/STACK-SERVICE:HASH` of stacks that ran here. Nodes have copies, so only a run in
/// progress may need one.
fn superseded(machine: &Machine, kept: bool) -> Vec<&String> {
    let owners = || {
        let indexed = machine.index.values().map(|entry| &entry.owner);
        machine.runs.iter().map(RunFolder::owner).chain(indexed)
    };
    let in_progress = |stack: &str| {
        let mut runs = owners().filter(|owner| owner.stack == stack);
        runs.any(|owner| known(machine, &owner.run, kept) == Known::Live)
    };
    let stacks: BTreeSet<&str> = owners()
        .map(|owner| owner.stack.as_str())
        .filter(|stack| !in_progress(stack))
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
            // A run of another checkout.
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
        // The run may have finished since the machine was examined.
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
        // The folder's owner file may be newer than the index entry.
        Ok(run) => judge_owner(run.owner(), true, kept),
        Err(_) => judge_owner(owner, false, kept),
    }
}

fn judge_owner(owner: &Owner, has_folder: bool, kept: bool) -> Known {
    match owner.state {
        // A finished run still writes its report.
        _ if owner.process.is_alive() => Known::Live,
        State::Finished => Known::Garbage("its run is finished".to_owned()),
        State::Running => Known::Garbage(dead(owner.process.pid)),
        State::Kept if kept => Known::Garbage("kept, and --kept was given".to_owned()),
        State::Kept if !has_folder => Known::Garbage("kept, but its folder was deleted".to_owned()),
        State::Kept => Known::Kept,
    }
}

fn dead(pid: u32) -> String {
    format!("its owner, process {pid}, is dead")
}

/// Returns the run in a name such as `kubernaut-e2e-k3x9pq` or `kubernaut-e2e-k3x9pq-control-plane`.
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
