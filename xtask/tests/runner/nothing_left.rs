//! x03 and x04: a run that is stopped at any task leaves nothing behind that `gc` does not find.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use subprocess::proc;

use crate::{
    kind_test,
    repository::{Finished, Repository, collecting, gc},
    test,
};

/// Sample of points for kind, where a cluster takes half a minute: while the cluster is created, while an image is
/// loaded, before anything runs in it, while the scenarios run.
const SAMPLE: [&str; 4] = [
    "middle:cluster",
    "middle:load:back",
    "begin:migrate",
    "middle:test",
];

/// The repository of all tests on the provider `local`, built once.
static SHARED: Mutex<Option<Arc<Repository>>> = Mutex::new(None);

fn shared() -> anyhow::Result<Arc<Repository>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(repository) = &*shared {
        return Ok(Arc::clone(repository));
    }
    let repository = Arc::new(Repository::with_components()?);
    let built = repository.e2e(&["--provider", "local"])?;
    built.ended_with(0)?;
    *shared = Some(Arc::clone(&repository));
    Ok(repository)
}

/// Drops the shared repository, since statics are not dropped.
pub(crate) fn drop_shared() {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).take();
}

pub(crate) fn trials() -> Vec<Trial> {
    let tasks = Repository::with_components().and_then(|repository| repository.tasks("local"));
    let tasks = tasks.unwrap_or_else(|error| panic!("cannot plan on the provider local: {error:#}"));
    let mut trials = Vec::new();
    for task in tasks {
        for when in ["begin", "middle"] {
            let point = format!("{when}:{task}");
            let at = point.clone();
            trials.push(test(
                format!("x03_gc_removes_all_of_a_killed_run::{at}"),
                move || killed(&*shared()?, "local", &at),
            ));
            let at = point.clone();
            trials.push(test(
                format!("x04_ctrl_c_exits_130_and_leaves_nothing::{at}"),
                move || interrupted(&*shared()?, "local", &at),
            ));
        }
    }
    trials.push(test("gc_waits_for_another_collection", || {
        let repository = shared()?;
        let _others = collecting();
        let folder = embedded::user_cache().join("kubernaut-e2e");
        fs::create_dir_all(&folder)?;
        let lock = embedded::lock(&folder.join("gc.lock"), "waiting for another test")?;
        let mut gc = repository.command(&["gc"]).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(gc.stderr.take().context("no stderr")?).lines();
        let waits = |line: &String| line.contains("waiting for another collection");
        ensure!(
            lines.any(|line| line.as_ref().is_ok_and(waits)),
            "gc did not wait"
        );
        drop(lock);
        let rest: Vec<String> = lines.collect::<Result<_, _>>()?;
        let status = gc.wait()?;
        ensure!(status.success(), "{status}:\n{}", rest.join("\n"));
        Ok(())
    }));
    trials.push(test("finds_all_processes_of_a_killed_run_before_gc", || {
        let repository = shared()?;
        let no_collection = collecting();
        let ended = repository.e2e(&["--provider", "local", "--fault", "kill:middle:front"])?;
        let folder = repository.target().join("e2e").join(ended.id()?);
        let found = processes(&folder, ended.pid).join("\n");
        drop(no_collection);
        collected(&repository, &ended)?;
        // The Redis that is fetched, if none is installed, is Valkey.
        let expected: [&[&str]; 4] = [
            &["postgres"],
            &["redis-server", "valkey-server"],
            &["kube-embedded"],
            &["programs/back serve"],
        ];
        let is_found = |names: &&&[&str]| names.iter().any(|name| found.contains(name));
        let missing: Vec<_> = expected.iter().filter(|names| !is_found(names)).collect();
        ensure!(missing.is_empty(), "{missing:?} is not in:\n{found}");
        Ok(())
    }));
    trials.push(test("ctrl_c_twice_exits_at_once_and_lists_the_rest", || {
        exits_at_once(&*shared()?, "local", "middle:back")
    }));
    for point in SAMPLE {
        trials.push(kind_test(
            format!("x03_gc_removes_all_of_a_killed_run_on_kind::{point}"),
            move || killed(&Repository::new()?, "kind", point),
        ));
        trials.push(kind_test(
            format!("x04_ctrl_c_exits_130_and_leaves_nothing_on_kind::{point}"),
            move || interrupted(&Repository::new()?, "kind", point),
        ));
    }
    trials.push(kind_test("ctrl_c_twice_exits_at_once_on_kind", || {
        exits_at_once(&Repository::new()?, "kind", "middle:cluster")
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
    ended.contains(&["cleaning up"])?;
    let folder = repository.target().join("e2e").join(ended.id()?);
    ensure!(
        folder.join("report.json").exists(),
        "no report:\n{}",
        ended.output
    );
    nothing_outside_the_folder(&folder, &ended)
}

fn exits_at_once(repository: &Repository, provider: &str, point: &str) -> anyhow::Result<()> {
    let ended = repository.e2e(&["--provider", provider, "--fault", &format!("leave:{point}")])?;
    ended.ended_with(130)?;
    let run = ended.id()?;
    let expected = match provider {
        "local" => "(PostgreSQL)".to_owned(),
        _ => format!("kind cluster orders-e2e-{run}"),
    };
    ended.contains(&[
        "exited without cleanup; `cargo xtask gc` removes the rest:",
        &expected,
    ])?;
    collected(repository, &ended)
}

/// Fails if anything is left after one collection, including the folder.
fn collected(repository: &Repository, ended: &Finished) -> anyhow::Result<()> {
    let folder = repository.target().join("e2e").join(ended.id()?);
    let collected = gc(repository)?;
    collected.ended_with(0)?;
    ensure!(
        !folder.exists(),
        "{} still exists:\n{}",
        folder.display(),
        collected.output
    );
    nothing_outside_the_folder(&folder, ended)
        .map_err(|error| error.context(format!("gc:\n{}\nrun:\n{}", collected.output, ended.output)))
}

fn nothing_outside_the_folder(folder: &Path, ended: &Finished) -> anyhow::Result<()> {
    let mut left = processes(folder, ended.pid);
    let servers = embedded::instances().into_iter();
    let of_run = servers.filter(|server| server.belongs_to.as_deref() == Some(folder));
    left.extend(of_run.map(|server| format!("server in {}", server.folder().display())));
    left.extend(podmans(ended.id()?)?);
    ensure!(
        left.is_empty(),
        "left:\n  {}\nby the run:\n{}",
        left.join("\n  "),
        ended.output
    );
    Ok(())
}

/// Returns the processes whose environment or command has the run's folder, or that the runner started.
fn processes(folder: &Path, runner: u32) -> Vec<String> {
    let folder = folder.display().to_string();
    let owner = format!("SUBPROCESS_OWNER={runner} ");
    let mut left = Vec::new();
    for pid in proc::pids() {
        let read = |name: &str| {
            let text = proc::read(format!("{pid}/{name}")).unwrap_or_default();
            text.replace('\0', " ")
        };
        let (environment, command) = (read("environ"), read("cmdline"));
        // podman's name server serves all networks, but has the environment of the run that needed it first.
        if command.contains("/aardvark-dns ") {
            continue;
        }
        // Redis overwrites its environment by its title; its folder has the runner's process id in its name.
        let cwd = proc::working_folder(pid).unwrap_or_default();
        let cwd = cwd.display().to_string();
        let is_server = cwd.contains("embedded-servers") && cwd.contains(&format!("-{runner}-"));
        let has_owner = environment.contains(&folder) || environment.contains(&owner);
        if is_server || has_owner || command.contains(&folder) {
            left.push(format!("process {pid}: {command}"));
        }
    }
    left
}

/// Returns podman's objects with the run's id in their names.
fn podmans(run: &str) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for list in [
        &["ps", "--all", "--format={{.Names}}"][..],
        &["network", "ls", "--format={{.Name}}"],
        &["volume", "ls", "--format={{.Name}}"],
        &["images", "--format={{.Repository}}:{{.Tag}}"],
    ] {
        // Without podman there are none.
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
