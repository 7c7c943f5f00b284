//! Steps as data: `--plan` and `--dry-run` print them, `execute` runs them, and nothing else decides what a run does.

use std::{path::PathBuf, time::Duration};

use serde::{Serialize, Serializer};

use crate::command::{Command, Test, tag_of};

/// Timeout of a step that takes seconds at most.
const SHORT: Duration = Duration::from_mins(1);

/// One step of a task; a task's steps run one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Step {
    #[serde(flatten)]
    pub(crate) action: Action,
    /// Test that makes the step unnecessary when it passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unless: Option<Test>,
    /// Maximum time for commands and waits.
    #[serde(rename = "timeout_seconds", serialize_with = "seconds")]
    pub(crate) timeout: Duration,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Action {
    /// Checks that this machine meets the provider's requirements.
    Preflight,
    /// Runs a command.
    Run {
        command: Command,
        /// Another run may create the same object at the same time: a failure counts as success when `unless` passes
        /// afterwards.
        concurrent: bool,
    },
    /// Streams one command's output into another.
    Pipe { from: Command, into: Command },
    /// Polls a condition until it is met.
    Wait(Condition),
    /// Starts the tasks that wait for a milestone of this task.
    Milestone { name: String },
    /// Checks that programs need no newer glibc than the images have. If one does, runs the other steps; without any
    /// it fails.
    CheckGlibc {
        programs: Vec<PathBuf>,
        glibc: String,
        otherwise: Vec<Step>,
    },
    /// Writes a file, or a folder of files.
    Write { to: PathBuf, content: Content },
    /// Sets the version of a service, or of a component's image, which later steps use as its tag.
    Tag { name: String, source: TagSource },
    /// Releases ports of this machine that the run had reserved.
    ReleasePorts { ports: Vec<u16> },
    /// Starts a process that runs until teardown.
    Start { name: String, program: Program },
    /// Creates or updates the rendered objects of a file over HTTP.
    Put { file: PathBuf },
    /// Runs the scenarios and follows their events.
    Scenarios { command: Command },
    /// After a failure, saves each command's output to a file in the run's folder.
    Collect { commands: Vec<(String, Command)> },
    /// Removes everything that the run made, or reports what is kept and why.
    Teardown { steps: Vec<Step> },
}

/// Condition of [`Action::Wait`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub(crate) enum Condition {
    /// A test passes.
    Test { test: Test, what: String },
    /// A workload of the cluster is ready; fails early when it cannot become ready.
    Workload {
        entry: String,
        get: Command,
        logs: Command,
    },
    /// A URL returns 200 and, where one is given, the version.
    Http {
        name: String,
        url: String,
        version: Option<String>,
    },
    /// Ports of 127.0.0.1 accept connections.
    Ports { name: String, ports: Vec<u16> },
}

/// Content of [`Action::Write`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Text(String),
    /// Copy of a file.
    Copy(PathBuf),
    /// Files that git tracks, and new files that it does not ignore: the builder image's context.
    Sources,
    /// Rendered manifest of an entry; only objects of these kinds if any is given.
    Manifest {
        entry: String,
        kinds: Vec<String>,
    },
    /// Rendered configuration of a service.
    Config {
        service: String,
    },
    /// Rendered configuration of a service as a ConfigMap.
    ConfigMap {
        service: String,
    },
    /// The run's secrets as a Secret.
    Secret,
    /// Objects of the manifests outside of any namespace.
    ClusterScoped,
    /// Output of a command that prints a kubeconfig; readable by the owner only.
    Kubeconfig(Command),
    /// Addresses for the tests.
    StackFile,
}

/// Origin of a version.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TagSource {
    /// Hash of files and of the outputs of commands, such as the id of a base image.
    Hash {
        files: Vec<PathBuf>,
        outputs: Vec<Command>,
    },
    /// Image id, which the command prints.
    ImageId(Command),
}

/// Program of [`Action::Start`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Program {
    Command(Command),
    /// Embedded server of a component.
    Embedded,
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self {
            action,
            unless: None,
            timeout: SHORT,
        }
    }
}

impl Step {
    pub(super) fn run(command: Command) -> Self {
        let concurrent = false;
        Action::Run { command, concurrent }.into()
    }

    pub(super) fn write(to: impl Into<PathBuf>, content: Content) -> Self {
        let to = to.into();
        Action::Write { to, content }.into()
    }

    #[must_use]
    pub(super) fn unless(mut self, test: Test) -> Self {
        self.unless = Some(test);
        self
    }

    #[must_use]
    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits the number of compilers that cargo runs at a time.
    pub(crate) fn limit_compile_jobs(&mut self, jobs: u64) {
        match &mut self.action {
            Action::Run { command, .. } if command.program == "cargo" => {
                command.args.extend(["--jobs".to_owned(), jobs.to_string()]);
            }
            Action::CheckGlibc { otherwise, .. } => {
                for step in otherwise {
                    step.limit_compile_jobs(jobs);
                }
            }
            _ => {}
        }
    }

    /// Returns the step as text, a line for each command, exactly as it runs.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = match &self.action {
            Action::Preflight => vec!["# check that this machine meets the requirements".to_owned()],
            Action::Run { command, .. } | Action::Scenarios { command } => vec![command.to_string()],
            Action::Pipe { from, into } => vec![format!("{from} | {into}")],
            Action::Wait(condition) => vec![format!("{condition}, at most {} s", self.timeout.as_secs())],
            Action::Milestone { name } => vec![format!("# milestone: {name}")],
            Action::CheckGlibc {
                programs,
                glibc,
                otherwise,
            } => {
                let programs: Vec<_> = programs.iter().map(|path| path.display().to_string()).collect();
                let check = format!(
                    "# check that these need glibc {glibc} at most: {}",
                    programs.join(" ")
                );
                let otherwise = otherwise.iter().flat_map(Self::lines);
                [check]
                    .into_iter()
                    .chain(otherwise.map(|line| format!("# if not: {line}")))
                    .collect()
            }
            Action::Write { to, content } => match content {
                Content::Kubeconfig(command) => vec![format!("{command}   # to {}", to.display())],
                Content::Copy(file) => vec![format!("# copy {} to {}", file.display(), to.display())],
                _ => vec![format!("# write {} to {}", content.description(), to.display())],
            },
            Action::Tag { name, source } => {
                let (origin, commands) = match source {
                    TagSource::Hash { files, outputs } => {
                        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
                        let base = if outputs.is_empty() { "" } else { " and base image" };
                        (format!("hash of {}{base}", files.join(", ")), outputs.as_slice())
                    }
                    TagSource::ImageId(inspect) => {
                        ("id of the image".to_owned(), std::slice::from_ref(inspect))
                    }
                };
                let first = format!("# {} = {origin}", tag_of(name));
                [first]
                    .into_iter()
                    .chain(commands.iter().map(Command::to_string))
                    .collect()
            }
            Action::ReleasePorts { ports } => vec![format!("# release the ports {ports:?} of 127.0.0.1")],
            Action::Start { name, program } => vec![match program {
                Program::Command(command) => format!("{command} &"),
                Program::Embedded => format!("# start the embedded {name}"),
            }],
            Action::Put { file } => vec![format!("# create the objects of {} over HTTP", file.display())],
            Action::Collect { commands } => commands
                .iter()
                .map(|(file, command)| format!("{command}   # on failure, to {file}"))
                .collect(),
            Action::Teardown { steps } => steps.iter().flat_map(Self::lines).collect(),
        };
        match &self.unless {
            None => lines,
            Some(Test { command, expect }) => match expect {
                None => lines.iter().map(|line| format!("{command} || {line}")).collect(),
                Some(text) => {
                    let test = format!("{command}   # skip if it prints {text}");
                    [test].into_iter().chain(lines).collect()
                }
            },
        }
    }
}

impl Content {
    fn description(&self) -> String {
        match self {
            Self::Text(_) => "text".to_owned(),
            Self::Copy(file) => file.display().to_string(),
            Self::Sources => "the sources that git lists".to_owned(),
            Self::Manifest { entry, kinds } if kinds.is_empty() => format!("the manifest of {entry}"),
            Self::Manifest { entry, kinds } => {
                format!("the manifest of {entry} ({} only)", kinds.join(", "))
            }
            Self::Config { service } => format!("the configuration of {service}"),
            Self::ConfigMap { service } => format!("the configuration of {service} as a ConfigMap"),
            Self::Secret => "the run's secrets".to_owned(),
            Self::ClusterScoped => "the objects outside of the namespace".to_owned(),
            Self::Kubeconfig(command) => command.to_string(),
            Self::StackFile => "the addresses for the tests".to_owned(),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Test { test, what } => write!(f, "{}   # until {what}", test.command),
            Self::Workload { get, .. } => write!(f, "{get}   # until ready"),
            Self::Http { url, version, .. } => {
                write!(f, "# GET {url} until it returns 200")?;
                version
                    .iter()
                    .try_for_each(|version| write!(f, " and version {version}"))
            }
            Self::Ports { name, ports } => {
                write!(f, "# until {name} listens on {ports:?} of 127.0.0.1")
            }
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}
