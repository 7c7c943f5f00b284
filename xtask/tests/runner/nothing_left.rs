//! x03 and x04: stopped at any task, a run leaves nothing that is not found.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::{
    kind_test,
    repository::{Ended, Repository, collecting, gc},
    test,
};

/// Where a cluster takes half a minute, these stand for all: while the cluster is made, while an image goes into it,
/// before anything runs in it, while something does.
const SAMPLE: [&str; 4] = [
    "middle:cluster",
    "middle:load:back",
    "begin:migrate",
    "middle:test",
];

/// One copy for all runs of a provider, built once.
fn shared() -> anyhow::Result<Arc<Repository>> {
    static SHARED: OnceLock<Mutex<Option<Arc<Repository>>>> = OnceLock::new();
    let mut shared = SHARED
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(repository) = &*shared {
        return Ok(Arc::clone(repository));
    }
    let repository = Arc::new(Repository::with_components()?);
    let built = repository.e2e(&["--provider", "local"])?;
    built.ended_with(0)?;
    *shared = Some(Arc::clone(&repository));
    Ok(repository)
}

pub(crate) fn trials() -> Vec<Trial> {
    let tasks = Repository::with_components().and_then(|repository| repository.tasks("local"));
    let tasks = tasks.unwrap_or_else(|error| panic!("the plan of the local provider: {error:#}"));
    let mut trials = Vec::new();
    for task in tasks {
        for when in ["begin", "middle"] {
            let point = format!("{when}:{task}");
            let at = point.clone();
            trials.push(test(
                format!("x03_sigkill_leaves_nothing_that_gc_does_not_find::{at}"),
                move || killed(&*shared()?, "local", &at),
            ));
            let at = point.clone();
            trials.push(test(
                format!("x04_ctrl_c_is_exit_130_and_leaves_nothing::{at}"),
                move || interrupted(&*shared()?, "local", &at),
            ));
        }
    }
    trials.push(test(
        "what_a_killed_run_leaves_is_seen_before_it_is_collected",
        || {
            let repository = shared()?;
            let nobody_collects = collecting();
            let ended = repository.e2e(&["--provider", "local", "--fault", "kill:middle:front"])?;
            let folder = repository.target().join("e2e").join(ended.id()?);
            let seen = processes(&folder, ended.pid).join("\n");
            drop(nobody_collects);
            collected(&repository, &ended)?;
            // Where no Redis is installed the one that is fetched is a Valkey.
            let expected: [&[&str]; 4] = [
                &["postgres"],
                &["redis-server", "valkey-server"],
                &["kube-embedded"],
                &["programs/back serve"],
            ];
            let is_seen = |names: &&&[&str]| names.iter().any(|name| seen.contains(name));
            let missing: Vec<_> = expected.iter().filter(|names| !is_seen(names)).collect();
            ensure!(missing.is_empty(), "{missing:?} is not in:\n{seen}");
            Ok(())
        },
    ));
    trials.push(test("ctrl_c_twice_leaves_at_once_and_lists_what_stays", || {
        left_at_once(&*shared()?, "local", "middle:back")
    }));
    for point in SAMPLE {
        trials.push(kind_test(format!("x03_sigkill_on_kind::{point}"), move || {
            killed(&Repository::new()?, "kind", point)
        }));
        trials.push(kind_test(format!("x04_ctrl_c_on_kind::{point}"), move || {
            interrupted(&Repository::new()?, "kind", point)
        }));
    }
    trials.push(kind_test("ctrl_c_twice_on_kind", || {
        left_at_once(&Repository::new()?, "kind", "middle:cluster")
    }));
    trials
}

fn killed(repository: &Repository, provider: &str, point: &str) -> anyhow::Result<()> {
    let ended = repository.e2e(&["--provider", provider, "--fault", &format!("kill:{point}")])?;
    ended.ended_with(-9)?;
    collected(repository, &ended)
}

fn interrupted(repository: &Repository, provider: &str, point: &str) -> anyhow::Result<()> {
    let ended = repository.e2e(&["--provider", provider, "--fault", &format!("interrupt:{point}")])?;
    ended.ended_with(130)?;
    ended.says(&["tidying up"])?;
    let folder = repository.target().join("e2e").join(ended.id()?);
    ensure!(
        folder.join("report.json").exists(),
        "the report stays:\n{}",
        ended.output
    );
    nothing_but_the_folder(&folder, &ended)
}

fn left_at_once(repository: &Repository, provider: &str, point: &str) -> anyhow::Result<()> {
    let ended = repository.e2e(&["--provider", provider, "--fault", &format!("leave:{point}")])?;
    ended.ended_with(130)?;
    let run = ended.id()?;
    let expected = match provider {
        "local" => "(PostgreSQL)".to_owned(),
        _ => format!("kind cluster orders-e2e-{run}"),
    };
    ended.says(&["left at once; `cargo xtask gc` removes what stays:", &expected])?;
    collected(repository, &ended)
}

/// After one collection nothing is left, not even the folder.
fn collected(repository: &Repository, ended: &Ended) -> anyhow::Result<()> {
    let folder = repository.target().join("e2e").join(ended.id()?);
    let collected = gc(repository)?;
    collected.ended_with(0)?;
    ensure!(
        !folder.exists(),
        "{} is still there:\n{}",
        folder.display(),
        collected.output
    );
    nothing_but_the_folder(&folder, ended)
        .map_err(|error| error.context(format!("gc:\n{}\nrun:\n{}", collected.output, ended.output)))
}

fn nothing_but_the_folder(folder: &Path, ended: &Ended) -> anyhow::Result<()> {
    let mut left = processes(folder, ended.pid);
    let servers = embedded::instances().into_iter();
    let ours = servers.filter(|server| server.belongs_to.as_deref() == Some(folder));
    left.extend(ours.map(|server| format!("server in {}", server.folder().display())));
    left.extend(podmans(ended.id()?)?);
    ensure!(
        left.is_empty(),
        "left:\n  {}\nof the run:\n{}",
        left.join("\n  "),
        ended.output
    );
    Ok(())
}

/// Processes that know the run's folder, or that were started by the runner itself.
fn processes(folder: &Path, runner: u32) -> Vec<String> {
    let folder = folder.display().to_string();
    let owner = format!("SUBPROCESS_OWNER={runner} ");
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| {
            let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let (environment, command) = (read("environ"), read("cmdline"));
        // podman's name server of all networks, whoever's container was there when it was started.
        if command.contains("/aardvark-dns ") {
            continue;
        }
        // Redis writes its title over its environment; its folder has the runner's number in its name.
        let place = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let place = place.display().to_string();
        let is_server = place.contains("embedded-servers") && place.contains(&format!("-{runner}-"));
        if is_server
            || environment.contains(&folder)
            || environment.contains(&owner)
            || command.contains(&folder)
        {
            left.push(format!("process {}: {command}", entry.file_name().display()));
        }
    }
    left
}

/// What podman has with the run's id in its name.
fn podmans(run: &str) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for list in [
        &["ps", "--all", "--format={{.Names}}"][..],
        &["network", "ls", "--format={{.Name}}"],
        &["volume", "ls", "--format={{.Name}}"],
        &["images", "--format={{.Repository}}:{{.Tag}}"],
    ] {
        // Where there is no podman there is nothing of its.
        let Ok(output) = Command::new("podman").args(list).output() else {
            continue;
        };
        let text = String::from_utf8(output.stdout)?;
        left.extend(
            text.lines()
                .filter(|line| line.contains(run))
                .map(|line| format!("podman {}: {line}", list[0])),
        );
    }
    Ok(left)
}
