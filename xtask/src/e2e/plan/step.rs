//! What a task does, as data: printed by `--plan` and `--dry-run`, carried out by `execute`, decided nowhere else.

use std::path::PathBuf;

use serde::Serialize;

use crate::command::{Command, Test, tag_of};

/// One step of a task; a task's steps are done one after the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Looks whether this machine can do what the plan asks of it.
    Preflight,
    /// Runs a command to its end, unless a test says that there is nothing to do.
    Run {
        command: Command,
        unless: Option<Test>,
        seconds: u64,
    },
    /// Streams one command's output into another, unless a test says that there is nothing to do.
    Pipe {
        from: Command,
        into: Command,
        unless: Option<Test>,
        seconds: u64,
    },
    /// Asks again until a test succeeds.
    Until { test: Test, what: String, seconds: u64 },
    /// Lets those go on that wait for a milestone of this task.
    Reach { milestone: String },
    /// Looks whether programs ask for a newer glibc than the images have; if so, does the other steps, and is an
    /// error where there are none.
    Fits {
        programs: Vec<PathBuf>,
        glibc: String,
        otherwise: Vec<Step>,
    },
    /// Keeps a compiled program as it is now.
    Take { program: PathBuf, to: PathBuf },
    /// Makes a service's tag: the hash of its program and, where there are images, of its Dockerfile and the id
    /// of its base image, which `base` prints.
    Tag {
        service: String,
        program: PathBuf,
        dockerfile: Option<PathBuf>,
        base: Option<Command>,
    },
    /// Puts a program into a folder of its own: the context of its image's build.
    Stage { program: PathBuf, folder: PathBuf },
    /// Writes a file.
    Write { to: PathBuf, text: String },
    /// Lets go of ports of this machine that were kept from others until now.
    Release { ports: Vec<u16> },
    /// Copies what git tracks, and new files that it does not ignore: the builder image's context.
    Sources { folder: PathBuf },
    /// Renders an entry's manifest, all of it or the objects of some kinds.
    Render {
        entry: String,
        kinds: Vec<String>,
        to: PathBuf,
    },
    /// Renders a service's configuration, as a file or as a ConfigMap.
    Config {
        service: String,
        to: PathBuf,
        as_object: bool,
    },
    /// Makes the run's secrets: as a Secret, or as a file each.
    Secrets { to: PathBuf, as_object: bool },
    /// Waits until a workload of the cluster is ready; ends early when it says that it never will be.
    Ready {
        entry: String,
        get: Command,
        logs: Command,
        seconds: u64,
    },
    /// Waits until a part answers 200 over HTTP, and says the version of this run where there is one.
    Answers {
        name: String,
        url: String,
        version: Option<String>,
        seconds: u64,
    },
    /// Starts what stands for a component where there are no pods.
    Embedded { name: String },
    /// Creates or renews the rendered objects of a file over HTTP.
    Put { file: PathBuf },
    /// Starts a program of this workspace as a process that goes on.
    Start { name: String, command: Command },
    /// Writes the file that tells the tests where everything is.
    StackFile { to: PathBuf },
    /// Runs the scenarios and follows their events.
    Scenarios { command: Command },
    /// Saves what tells why a run failed.
    Collect {
        commands: Vec<(String, Command)>,
        seconds: u64,
    },
    /// Writes a kubeconfig of the run's own with what a command prints.
    CopyContext { from: Command, to: PathBuf },
    /// Makes an image's tag: the id of its content, which `inspect` prints.
    ImageTag { name: String, inspect: Command },
    /// Writes what the manifests have outside of the run's namespace.
    ClusterScoped { to: PathBuf },
    /// Makes what others may make at the same time: whose attempt it was does not matter.
    Create { there: Test, command: Command },
    /// Waits until these ports of this machine take connections.
    Listens {
        name: String,
        ports: Vec<u16>,
        seconds: u64,
    },
    /// Removes everything that the run made, or says what stays and why. The last command is left out when its test
    /// succeeds.
    Teardown {
        commands: Vec<Command>,
        unless: Option<(Test, Command)>,
    },
}

impl Step {
    /// Lets cargo run no more compilers at a time than this.
    pub(crate) fn with_compile_jobs(&mut self, jobs: u64) {
        match self {
            Self::Run { command, .. } if command.program == "cargo" => {
                command.args.extend(["--jobs".to_owned(), jobs.to_string()]);
            }
            Self::Fits { otherwise, .. } => {
                otherwise.iter_mut().for_each(|step| step.with_compile_jobs(jobs));
            }
            _ => {}
        }
    }

    /// What it does, a line each; commands exactly as they run.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Preflight => vec!["# look whether this machine can do it".to_owned()],
            Self::Run { command, unless, .. } => with_test(unless.as_ref(), command.to_string()),
            Self::Pipe {
                from, into, unless, ..
            } => with_test(unless.as_ref(), format!("{from} | {into}")),
            Self::Until { test, what, seconds } => {
                vec![format!(
                    "{}   # again until {what}, at most {seconds} s",
                    test.command
                )]
            }
            Self::Reach { milestone } => vec![format!("# from here on: {milestone}")],
            Self::Fits {
                programs,
                glibc,
                otherwise,
            } => {
                let mut lines = vec![format!(
                    "# check that these ask for glibc {glibc} at most: {}",
                    joined(programs)
                )];
                lines.extend(
                    otherwise
                        .iter()
                        .flat_map(Self::lines)
                        .map(|line| format!("# if not: {line}")),
                );
                lines
            }
            Self::Take { program, to } => vec![format!("# copy {} to {}", program.display(), to.display())],
            Self::Tag { service, base, .. } => {
                let of = if base.is_some() {
                    "program, Dockerfile and base image"
                } else {
                    "program"
                };
                let mut lines = vec![format!("# {} = hash of {of}", tag_of(service))];
                lines.extend(base.iter().map(Command::to_string));
                lines
            }
            Self::Stage { program, folder } => {
                vec![format!("# copy {} to {}", program.display(), folder.display())]
            }
            Self::Write { to, .. } => vec![format!("# write {}", to.display())],
            Self::Release { ports } => vec![format!("# let go of the ports {ports:?} of 127.0.0.1")],
            Self::Sources { folder } => vec![format!(
                "# copy the sources that git knows to {}",
                folder.display()
            )],
            Self::Render { entry, kinds, to } => {
                let which = if kinds.is_empty() {
                    String::new()
                } else {
                    format!(" ({} only)", kinds.join(", "))
                };
                vec![format!(
                    "# render the manifest of {entry}{which} to {}",
                    to.display()
                )]
            }
            Self::Config { service, to, .. } => {
                vec![format!(
                    "# render the configuration of {service} to {}",
                    to.display()
                )]
            }
            Self::Secrets { to, .. } => vec![format!("# make this run's secrets in {}", to.display())],
            Self::Ready { get, seconds, .. } => {
                vec![format!("{get}   # again until ready, at most {seconds} s")]
            }
            Self::Answers {
                url,
                version,
                seconds,
                ..
            } => {
                let version = version
                    .as_ref()
                    .map(|version| format!(" as version {version}"))
                    .unwrap_or_default();
                vec![format!(
                    "# GET {url} until it answers 200{version}, at most {seconds} s"
                )]
            }
            Self::Embedded { name } => vec![format!("# start the embedded {name}")],
            Self::Put { file } => vec![format!("# create the objects of {} over HTTP", file.display())],
            Self::Start { command, .. } => vec![format!("{command} &")],
            Self::StackFile { to } => {
                vec![format!("# write the addresses for the tests to {}", to.display())]
            }
            Self::Scenarios { command } => vec![command.to_string()],
            Self::Collect { commands, .. } => {
                let line =
                    |(file, command): &(String, Command)| format!("{command}   # on failure, to {file}");
                commands.iter().map(line).collect()
            }
            Self::CopyContext { from, to } => vec![format!("{from}   # to {}", to.display())],
            Self::ImageTag { name, inspect } => {
                vec![
                    format!("# {} = id of the image", tag_of(name)),
                    inspect.to_string(),
                ]
            }
            Self::ClusterScoped { to } => {
                vec![format!(
                    "# write what is outside of the namespace to {}",
                    to.display()
                )]
            }
            Self::Create { there, command } => with_test(Some(there), command.to_string()),
            Self::Listens {
                name, ports, seconds, ..
            } => vec![format!(
                "# until {name} listens on {ports:?} of 127.0.0.1, at most {seconds} s"
            )],
            Self::Teardown { commands, unless } => {
                let last = unless.iter();
                let last = last.flat_map(|(test, command)| with_test(Some(test), command.to_string()));
                commands.iter().map(Command::to_string).chain(last).collect()
            }
        }
    }
}

fn with_test(unless: Option<&Test>, line: String) -> Vec<String> {
    match unless {
        None => vec![line],
        Some(Test {
            command,
            expect: None,
        }) => vec![format!("{command} || {line}")],
        Some(Test {
            command,
            expect: Some(text),
        }) => {
            vec![format!("{command}   # nothing to do if it prints {text}"), line]
        }
    }
}

fn joined(paths: &[PathBuf]) -> String {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(" ")
}
