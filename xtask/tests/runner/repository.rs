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

use crate::failures::Group;

/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(600);

/// A repository of another team: the small stack in a folder of its own, with a target folder of its own.
pub(crate) struct Repository {
    root: tempfile::TempDir,
}

/// How a run of the runner ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or the number of the signal that ended it, negative.
    pub(crate) code: i32,
    /// All that it printed.
    pub(crate) output: String,
    pub(crate) took: Duration,
    /// Its own process number.
    pub(crate) pid: u32,
}

impl Repository {
    /// Two services and a job; nothing else is needed on any provider.
    pub(crate) fn new() -> anyhow::Result<Self> {
        embedded_kubernetes()?;
        let root = tempfile::Builder::new().prefix("runner-").tempdir()?;
        let stack = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stack");
        copy(&stack, &root.path().join("repository"))?;
        Ok(Self { root })
    }

    /// The same with a database and a stream, which the local provider has embedded.
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

    /// A file of the repository.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("repository").join(name)
    }

    /// Where it is built, and where its runs are.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.path().join("target")
    }

    /// Replaces a text of a file, which must have it.
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.file(name))?;
        anyhow::ensure!(text.contains(from), "{name} must have {from:?}");
        Ok(fs::write(self.file(name), text.replace(from, to))?)
    }

    /// A verb of the runner in this repository.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.file(""));
        command.env("CARGO_TARGET_DIR", self.target()).env_remove("CI");
        command.stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        finish(self.command(arguments))
    }

    /// A run of the stack.
    pub(crate) fn e2e(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let stack = self.file("deploy/stack.toml").display().to_string();
        self.run(&[&["e2e", "--stack", &stack], arguments].concat())
    }

    /// A run of the stack inside a control group.
    pub(crate) fn e2e_in(&self, group: &Group, arguments: &[&str]) -> anyhow::Result<Ended> {
        let stack = self.file("deploy/stack.toml").display().to_string();
        let inner = self.command(&[&["e2e", "--stack", &stack], arguments].concat());
        // Enters before it becomes the runner; the number stays the same.
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(group.door());
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

    /// The names of a plan's tasks.
    pub(crate) fn tasks(&self, provider: &str) -> anyhow::Result<Vec<String>> {
        let stack = self.file("deploy/stack.toml").display().to_string();
        let mut command = self.command(&["e2e", "--stack", &stack, "--provider", provider]);
        let output = command.args(["--plan", "--format", "json"]).output()?;
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let tasks = plan["tasks"].as_array().context("a plan has tasks")?;
        Ok(tasks
            .iter()
            .filter_map(|task| task["name"].as_str().map(str::to_owned))
            .collect())
    }
}

impl Ended {
    /// The run's id, which its first line has.
    pub(crate) fn id(&self) -> anyhow::Result<&str> {
        let line = self.output.lines().find_map(|line| line.strip_prefix("run "));
        line.and_then(|line| line.split(' ').next())
            .with_context(|| format!("no run's id in:\n{}", self.output))
    }

    /// The line that tells a task's end.
    pub(crate) fn task_line(&self, task: &str) -> anyhow::Result<&str> {
        let mut lines = self.output.lines();
        let is_it = |line: &&str| line.split_whitespace().nth(1) == Some(task);
        lines
            .find(is_it)
            .with_context(|| format!("{task} is not told in:\n{}", self.output))
    }

    /// That each of these texts is in what people see at the end.
    pub(crate) fn says(&self, texts: &[&str]) -> anyhow::Result<()> {
        let missing: Vec<_> = texts
            .iter()
            .filter(|text| !self.output.contains(**text))
            .collect();
        anyhow::ensure!(missing.is_empty(), "{missing:?} is not in:\n{}", self.output);
        Ok(())
    }

    /// That it ended with this code.
    pub(crate) fn ended_with(&self, code: i32) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.code == code,
            "expected {code}, it ended with {}:\n{}",
            self.code,
            self.output
        );
        Ok(())
    }
}

/// One at a time: two collections at once would find each other's garbage half removed. As long as it lives, no
/// other test collects.
pub(crate) fn collecting() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn gc(repository: &Repository) -> anyhow::Result<Ended> {
    let _one = collecting();
    repository.run(&["gc"])
}

pub(crate) fn finish(mut command: Command) -> anyhow::Result<Ended> {
    // A file, not a pipe: what a killed run leaves behind would hold the pipe open.
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
                "not done after {LONGEST:?}:\n{}",
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
    Ok(Ended {
        code,
        output: text,
        took: began.elapsed(),
        pid: child.id(),
    })
}

/// The embedded Kubernetes API is a program of this workspace, installed beside the runner: a repository that lacks
/// it takes that one.
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

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
