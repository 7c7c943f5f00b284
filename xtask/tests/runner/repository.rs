//! A copy of the small stack, and runs of the runner in it.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{failures::Group, support::copy_folder};

/// Maximum duration of a run or verb; only one that hangs takes longer, also on a loaded machine.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// Time in which a process of a failed test may end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// A repository of another team: a copy of the small stack, with a target folder of its own. Dropping it ends every
/// process of its runs, so that a failed test leaves none.
pub(crate) struct Repository {
    root: tempfile::TempDir,
}

/// How a run of the runner ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The exit code, or the number of the signal that ended it, negative.
    pub(crate) code: i32,
    /// Its output, stdout and stderr.
    pub(crate) output: String,
    /// Process id.
    pub(crate) pid: u32,
}

impl Repository {
    /// Returns a stack of two services and a job.
    pub(crate) fn new() -> anyhow::Result<Self> {
        embedded_kubernetes()?;
        let root = tempfile::Builder::new().prefix("runner-").tempdir()?;
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack");
        copy_folder(&stack, &root.path().join("repository"))?;
        Ok(Self { root })
    }

    /// Returns the same stack with a database and a stream, which are embedded on the provider `local`.
    pub(crate) fn with_components() -> anyhow::Result<Self> {
        let repository = Self::new()?;
        let components = fs::read_to_string(repository.file("deploy/components.toml"))?;
        repository.edit("deploy/stack.toml", "# components\n", &components)?;
        repository.edit(
            "deploy/stack.toml",
            "needs = []",
            "needs = [\"database\", \"stream\"]",
        )?;
        Ok(repository)
    }

    /// Returns the path of a file of the repository.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("repository").join(name)
    }

    /// Returns the target folder, which also contains the runs.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.path().join("target")
    }

    /// Replaces a text of a file; fails if the file lacks it.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.file(name))?;
        anyhow::ensure!(text.contains(from), "{name} lacks {from:?}");
        Ok(fs::write(self.file(name), text.replace(from, to))?)
    }

    /// Returns the command of a verb in this repository.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.file(""));
        command.env("CARGO_TARGET_DIR", self.target()).env_remove("CI");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a verb to completion.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        finish(self.command(arguments))
    }

    /// Runs the stack.
    pub(crate) fn e2e(&self, arguments: &[&str]) -> anyhow::Result<Finished> {
        let stack = self.file("deploy/stack.toml").display().to_string();
        self.run(&[&["e2e", "--stack", &stack], arguments].concat())
    }

    /// Runs the stack inside a control group.
    pub(crate) fn e2e_in(&self, group: &Group, arguments: &[&str]) -> anyhow::Result<Finished> {
        let stack = self.file("deploy/stack.toml").display().to_string();
        let inner = self.command(&[&["e2e", "--stack", &stack], arguments].concat());
        // The shell enters the group and then becomes the runner, with the same process id.
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(group.procs());
        command.arg(inner.get_program()).args(inner.get_args());
        command.current_dir(self.file("")).stdin(Stdio::null());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        finish(command)
    }

    /// Returns the names of a plan's tasks.
    pub(crate) fn tasks(&self, provider: &str) -> anyhow::Result<Vec<String>> {
        let stack = self.file("deploy/stack.toml").display().to_string();
        let mut command = self.command(&["e2e", "--stack", &stack, "--provider", provider]);
        let output = command.args(["--plan", "--format", "json"]).output()?;
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let tasks = plan["tasks"].as_array().context("the plan has no tasks")?;
        Ok(tasks
            .iter()
            .filter_map(|task| task["name"].as_str().map(str::to_owned))
            .collect())
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let runs = self.target().join("e2e");
        let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        for run in folders(&runs) {
            for record in folders(&run.path().join("processes")) {
                if let Ok(record) = subprocess::Record::read(&record.path()) {
                    let _stopped = record.stop(GRACE);
                }
            }
        }
        let is_ours = |server: &embedded::Instance| {
            let run = server.belongs_to.as_deref();
            run.is_some_and(|run| run.starts_with(&runs))
        };
        for server in embedded::instances().into_iter().filter(is_ours) {
            let _removed = server.remove();
        }
    }
}

impl Finished {
    /// Returns the run's id, which is in its first line.
    pub(crate) fn id(&self) -> anyhow::Result<&str> {
        let line = self.output.lines().find_map(|line| line.strip_prefix("run "));
        line.and_then(|line| line.split(' ').next())
            .with_context(|| format!("no run id in:\n{}", self.output))
    }

    /// Returns the line about a task's end.
    pub(crate) fn task_line(&self, task: &str) -> anyhow::Result<&str> {
        let mut lines = self.output.lines();
        let is_it = |line: &&str| line.split_whitespace().nth(1) == Some(task);
        lines
            .find(is_it)
            .with_context(|| format!("no line of {task} in:\n{}", self.output))
    }

    /// Fails if the output lacks one of these texts.
    pub(crate) fn contains(&self, texts: &[&str]) -> anyhow::Result<()> {
        let missing: Vec<_> = texts
            .iter()
            .filter(|text| !self.output.contains(**text))
            .collect();
        anyhow::ensure!(missing.is_empty(), "{missing:?} is not in:\n{}", self.output);
        Ok(())
    }

    /// Fails if it ended with another code.
    pub(crate) fn ended_with(&self, code: i32) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.code == code,
            "expected exit code {code}, got {}:\n{}",
            self.code,
            self.output
        );
        Ok(())
    }
}

/// Prevents collections by other tests while the guard lives.
pub(crate) fn collecting() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn gc(repository: &Repository) -> anyhow::Result<Finished> {
    let _one = collecting();
    repository.run(&["gc"])
}

pub(crate) fn finish(mut command: Command) -> anyhow::Result<Finished> {
    // A file instead of a pipe, which orphans of a killed run would keep open.
    let mut output = tempfile::NamedTempFile::new()?;
    command
        .stdout(output.reopen()?)
        .stderr(output.as_file().try_clone()?);
    let began = Instant::now();
    let mut child = command.spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > LONGEST {
            child.kill()?;
            bail!(
                "timed out after {LONGEST:?}:\n{}",
                fs::read_to_string(output.path())?
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut text = String::new();
    std::io::Read::read_to_string(output.as_file_mut(), &mut text)?;
    if text.is_empty() {
        text = fs::read_to_string(output.path())?;
    }
    let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
    Ok(Finished {
        code,
        output: text,
        pid: child.id(),
    })
}

/// Builds the embedded Kubernetes API beside the runner, where repositories that cannot build it find it.
fn embedded_kubernetes() -> anyhow::Result<()> {
    static ONCE: OnceLock<Result<(), String>> = OnceLock::new();
    let build = || {
        let beside = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("kube-embedded");
        if beside.exists() {
            return Ok(());
        }
        let mut build = Command::new("cargo");
        build.args(["build", "--locked", "--package", "kube-embedded"]);
        let output = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .map_err(|error| error.to_string())?;
        output
            .status
            .success()
            .then_some(())
            .ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    ONCE.get_or_init(build).clone().map_err(anyhow::Error::msg)
}
