//! x05 and x09: two runs at once, and again after an edit.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use anyhow::{Context, ensure};
use libtest_mimic::Trial;

use crate::{
    kind_test,
    repository::{Ended, Repository},
    test,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("x05_two_runs_at_once_both_pass", || two_at_once("local")),
        test("x09_unchanged_services_are_not_restarted", only_what_changed),
        test("watch_runs_again_on_save_and_ends_on_ctrl_c", watch),
        kind_test("x05_two_runs_at_once_on_kind", || two_at_once("kind")),
        kind_test(
            "x09_unchanged_services_are_not_touched_on_kind",
            only_what_changed_on_kind,
        ),
    ]
}

fn two_at_once(provider: &str) -> anyhow::Result<()> {
    let repository = if provider == "local" {
        Repository::with_components()
    } else {
        Repository::new()
    }?;
    let run = || repository.e2e(&["--provider", provider]);
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(run);
        let other = run();
        (one.join(), other)
    });
    let one = one.map_err(|_| anyhow::anyhow!("the other run's thread panicked"))??;
    let other = other?;
    one.ended_with(0)?;
    other.ended_with(0)?;
    ensure!(one.id()? != other.id()?, "each is a run of its own");
    Ok(())
}

/// The processes of a run by name.
fn processes(repository: &Repository, run: &Ended) -> anyhow::Result<BTreeMap<String, u64>> {
    let folder = repository.target().join("e2e").join(run.id()?).join("processes");
    let mut found = BTreeMap::new();
    for file in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let record: serde_json::Value = serde_json::from_slice(&fs::read(file?.path())?)?;
        let name = record["name"].as_str().unwrap_or_default().to_owned();
        found.insert(name, record["pid"].as_u64().unwrap_or(0));
    }
    Ok(found)
}

fn only_what_changed() -> anyhow::Result<()> {
    let repository = Repository::with_components()?;
    let again = || repository.e2e(&["--provider", "local", "--keep"]);
    let first = again()?;
    let told = first.ended_with(0).and_then(|()| {
        let before = processes(&repository, &first)?;
        ensure!(
            before.len() == 5,
            "both services, their stores and the API: {before:?}"
        );

        repository.edit(
            "front/src/main.rs",
            "common::main(\"front\")",
            "common::main(&\"FRONT\".to_lowercase())",
        )?;
        let edited = again()?;
        edited.ended_with(0)?;
        changed_alone("front", &before, &processes(&repository, &edited)?, &edited)?;

        let before = processes(&repository, &edited)?;
        repository.edit("deploy/config/back.toml", "behaviour", "# edited\nbehaviour")?;
        let configured = again()?;
        configured.ended_with(0)?;
        changed_alone(
            "back",
            &before,
            &processes(&repository, &configured)?,
            &configured,
        )
    });
    repository.run(&["down"])?.ended_with(0)?;
    told
}

fn changed_alone(
    service: &str,
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    ended: &Ended,
) -> anyhow::Result<()> {
    let changed: Vec<_> = before
        .iter()
        .filter(|(name, pid)| after.get(*name) != Some(*pid))
        .map(|(name, _)| name)
        .collect();
    ensure!(
        changed == [service],
        "expected {service} alone to be new, found {changed:?}:\n{}",
        ended.output
    );
    Ok(())
}

fn only_what_changed_on_kind() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let again = || repository.e2e(&["--provider", "kind", "--keep"]);
    let first = again()?;
    let told = first.ended_with(0).and_then(|()| {
        repository.edit(
            "front/src/main.rs",
            "common::main(\"front\")",
            "common::main(&\"FRONT\".to_lowercase())",
        )?;
        let edited = again()?;
        edited.ended_with(0)?;
        for done in ["image:front", "load:front"] {
            ensure!(
                edited.task_line(done)?.contains("done"),
                "{done} has work:\n{}",
                edited.output
            );
        }
        for skipped in ["cluster", "image:back", "load:back"] {
            ensure!(
                edited.task_line(skipped)?.contains("skipped"),
                "{skipped} has none:\n{}",
                edited.output
            );
        }
        ensure!(
            edited.took * 2 < first.took,
            "cold {:?}, warm {:?}",
            first.took,
            edited.took
        );
        Ok(())
    });
    repository.run(&["down"])?.ended_with(0)?;
    told
}

/// The next line that has the text.
fn wait_for(lines: &Receiver<String>, text: &str) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    loop {
        let line = lines
            .recv_timeout(Duration::from_secs(120))
            .with_context(|| format!("{text:?} did not come in:\n{}", seen.join("\n")))?;
        if line.contains(text) {
            return Ok(());
        }
        seen.push(line);
    }
}

fn watch() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let stack = repository.file("deploy/stack.toml").display().to_string();
    let mut command = repository.command(&["e2e", "watch", "--provider", "local", "--stack", &stack]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let (sender, lines) = channel();
    let stderr = child.stderr.take().context("stderr is a pipe")?;
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _over = sender.send(line);
        }
    });
    let told = wait_for(&lines, "again on the next save").and_then(|()| {
        repository.edit(
            "front/src/main.rs",
            "common::main(\"front\")",
            "common::main(&\"FRONT\".to_lowercase())",
        )?;
        wait_for(&lines, "front/src/main.rs changed")?;
        wait_for(&lines, "1 scenario: 1 passed")?;
        wait_for(&lines, "again on the next save")
    });
    let pid = i32::try_from(child.id())?;
    let pid = rustix::process::Pid::from_raw(pid).context("a process number")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = child.wait()?;
    repository.run(&["down"])?.ended_with(0)?;
    told?;
    ensure!(
        status.code() == Some(130),
        "Ctrl-C ends it with 130, it was {status}"
    );
    Ok(())
}
