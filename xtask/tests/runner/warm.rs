//! x05 and x09: two runs at the same time, and repeated runs after edits.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc::{Receiver, channel},
};

use anyhow::{Context, ensure};
use libtest_mimic::Trial;

use crate::{
    kind_test,
    repository::{Finished, LONGEST, Repository},
    test,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        test("x05_two_runs_at_the_same_time_pass", || two_at_once("local")),
        test("x09_unchanged_services_are_not_restarted", only_what_changed),
        test(
            "failing_runs_remove_nothing_of_a_kept_stack",
            failures_keep_the_stack,
        ),
        test("watch_runs_again_on_save_and_stops_on_ctrl_c", watch),
        kind_test("x05_two_runs_at_the_same_time_pass_on_kind", || {
            two_at_once("kind")
        }),
        kind_test(
            "x09_unchanged_services_are_not_deployed_on_kind",
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
    let one = one.map_err(|_| anyhow::anyhow!("the thread of the other run panicked"))??;
    let other = other?;
    one.ended_with(0)?;
    other.ended_with(0)?;
    ensure!(one.id()? != other.id()?, "both runs have the same id");
    Ok(())
}

/// Returns the process ids of a run by name.
fn processes(repository: &Repository, run: &Finished) -> anyhow::Result<BTreeMap<String, u64>> {
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
    let result = first.ended_with(0).and_then(|()| {
        let before = processes(&repository, &first)?;
        ensure!(
            before.len() == 5,
            "expected two services, two stores and the API: {before:?}"
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
    result
}

fn changed_alone(
    service: &str,
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
    ended: &Finished,
) -> anyhow::Result<()> {
    let changed: Vec<_> = before
        .iter()
        .filter(|(name, pid)| after.get(*name) != Some(*pid))
        .map(|(name, _)| name)
        .collect();
    ensure!(
        changed == [service],
        "expected only {service} to be restarted, found {changed:?}:\n{}",
        ended.output
    );
    Ok(())
}

fn failures_keep_the_stack() -> anyhow::Result<()> {
    let repository = Repository::with_components()?;
    let again = |more: &[&str]| repository.e2e(&[&["--provider", "local", "--keep"], more].concat());
    let first = again(&[])?;
    let result = first.ended_with(0).and_then(|()| {
        let before = processes(&repository, &first)?;
        let front = "front/src/main.rs";
        repository.edit(front, "fn main()", "fn main() -> !")?;
        let is_kept = |what: &str| {
            let now = processes(&repository, &first)?;
            ensure!(before == now, "{what}: expected {before:?}, found {now:?}");
            let status = repository.run(&["status"])?.output;
            ensure!(
                status.contains("kept") && !status.contains("(stopped)"),
                "{what}: {status}"
            );
            Ok(())
        };
        let failed = again(&[])?;
        failed.ended_with(3)?;
        let stack = repository.file("deploy/stack.toml");
        let repeat = format!(
            "e2e --provider local --stack {} --only compile --keep",
            stack.display()
        );
        failed.contains(&["the stack is still up", &repeat])?;
        is_kept("a compile error")?;
        again(&["--only", "nonsense"])?.ended_with(2)?;
        is_kept("a wrong argument")?;
        again(&["--fault", "kill:middle:compile"])?.ended_with(-9)?;
        repository.run(&["gc"])?.ended_with(0)?;
        is_kept("a killed run, and gc")?;
        again(&["--fault", "interrupt:begin:compile"])?.ended_with(130)?;
        is_kept("an interrupted run")?;
        repository.edit(front, "fn main() -> !", "fn main()")?;
        let fixed = again(&[])?;
        fixed.ended_with(0)?;
        ensure!(fixed.id()? == first.id()?, "another run:\n{}", fixed.output);
        is_kept("the fixed run")
    });
    repository.run(&["down"])?.ended_with(0)?;
    result
}

fn only_what_changed_on_kind() -> anyhow::Result<()> {
    let repository = Repository::new()?;
    let again = || repository.e2e(&["--provider", "kind", "--keep"]);
    let first = again()?;
    let result = first.ended_with(0).and_then(|()| {
        repository.edit(
            "front/src/main.rs",
            "common::main(\"front\")",
            "common::main(&\"FRONT\".to_lowercase())",
        )?;
        let edited = again()?;
        edited.ended_with(0)?;
        for task in ["image:front", "load:front"] {
            ensure!(
                edited.task_line(task)?.contains("done"),
                "{task} did nothing:\n{}",
                edited.output
            );
        }
        for task in ["cluster", "image:back", "load:back"] {
            ensure!(
                edited.task_line(task)?.contains("skipped"),
                "{task} was not skipped:\n{}",
                edited.output
            );
        }
        Ok(())
    });
    repository.run(&["down"])?.ended_with(0)?;
    result
}

/// Waits for the next line that contains the text.
fn wait_for(lines: &Receiver<String>, text: &str) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    loop {
        let line = lines
            .recv_timeout(LONGEST)
            .with_context(|| format!("no line contains {text:?}:\n{}", seen.join("\n")))?;
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
    let stderr = child.stderr.take().context("no stderr")?;
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // The receiver is gone once the test is over.
            let _over = sender.send(line);
        }
    });
    let result = wait_for(&lines, "runs again on the next save").and_then(|()| {
        repository.edit(
            "front/src/main.rs",
            "common::main(\"front\")",
            "common::main(&\"FRONT\".to_lowercase())",
        )?;
        wait_for(&lines, "front/src/main.rs changed")?;
        wait_for(&lines, "1 scenario: 1 passed")?;
        wait_for(&lines, "runs again on the next save")
    });
    let pid = i32::try_from(child.id())?;
    let pid = rustix::process::Pid::from_raw(pid).context("invalid process id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = child.wait()?;
    repository.run(&["down"])?.ended_with(0)?;
    result?;
    ensure!(
        status.code() == Some(130),
        "expected exit code 130 after Ctrl-C, got {status}"
    );
    Ok(())
}
