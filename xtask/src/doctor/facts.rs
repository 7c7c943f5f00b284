//! What is so on this machine. Only looks; what it means is judged elsewhere.

use std::fs;
use std::path::Path;
use std::process;
use std::time::Duration;

use serde::Deserialize;
use subprocess::{Cancel, Command, Failure};

use super::listener;
use crate::gc;
use crate::ports::{self, Unusable};
use crate::run_folder;
use crate::stack;

/// A tool answers at once, or something is wrong with it.
const ANSWER: Duration = Duration::from_secs(30);
/// A registry that takes longer is as good as away.
const REGISTRY: Duration = Duration::from_secs(10);
/// What kind pulls if no node image is named, as far as can be told without asking it: any tag of it will do to see
/// whether the registry answers.
const SOME_NODE_IMAGE: &str = "docker.io/kindest/node:latest";

/// A program on PATH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tool {
    Absent,
    /// It is there and does not work: its words.
    Broken(String),
    /// What it answers when asked for its version.
    Works(String),
}

/// What kind and podman need.
#[derive(Debug, Clone)]
pub(super) struct KindFacts {
    pub(super) podman: Tool,
    pub(super) kind: Tool,
    pub(super) kubectl: Tool,
    /// What podman tells of the machine that its containers run on.
    pub(super) engine: Result<Engine, String>,
    /// Not looked for where there is no kind: a registry may take long to say no.
    pub(super) node_image: Option<NodeImage>,
    /// Linux: how many files one user may watch, and with how many watchers.
    pub(super) inotify: Option<(u64, u64)>,
}

/// `podman info`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Engine {
    pub(super) host: Host,
    pub(super) store: Store,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Host {
    pub(super) cgroup_version: String,
    #[serde(default)]
    pub(super) cgroup_controllers: Vec<String>,
    /// Bytes.
    pub(super) mem_total: u64,
    #[serde(default)]
    pub(super) service_is_remote: bool,
    #[serde(default)]
    pub(super) security: Security,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Security {
    #[serde(default)]
    pub(super) rootless: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Store {
    #[serde(default)]
    pub(super) graph_root: String,
}

/// The image of a cluster's node.
#[derive(Debug, Clone)]
pub(super) struct NodeImage {
    /// The one that was asked for; without one kind takes its own.
    pub(super) asked_for: Option<String>,
    /// Whether podman has it, or what its registry says.
    pub(super) at_hand: AtHand,
    /// Node images that podman has.
    pub(super) here: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AtHand {
    Here,
    Pullable,
    No(String),
}

/// What processes on this machine need.
#[derive(Debug)]
pub(super) struct LocalFacts {
    pub(super) postgresql: Server,
    pub(super) redis: Server,
    pub(super) pip: Option<String>,
}

/// A server's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    /// Version and folder.
    Here(String, String),
    Absent,
    Broken(String),
}

/// What every run needs.
#[derive(Debug)]
pub(super) struct CommonFacts {
    pub(super) root: bool,
    /// Bytes.
    pub(super) memory_available: Option<u64>,
    /// Bytes where cargo builds.
    pub(super) target_free: Option<u64>,
    /// Bytes where podman stores images.
    pub(super) images_free: Option<u64>,
    /// Host ports of the stack that are taken: port, whose it is in the stack, who listens there.
    pub(super) taken_ports: Vec<(u16, String, String)>,
    /// What `gc` would remove; or why that can't be told.
    pub(super) garbage: Result<usize, String>,
}

/// What kind and podman need; `node_image` is the one that was asked for.
pub(super) fn kind(node_image: Option<&str>) -> KindFacts {
    std::thread::scope(|scope| {
        let podman = scope.spawn(|| version("podman", &["--version"]));
        let kind = scope.spawn(|| version("kind", &["version"]));
        let kubectl = scope.spawn(|| version("kubectl", &["version", "--client"]));
        let engine = scope.spawn(engine);
        let node_image = scope.spawn(|| look_for_node_image(node_image));
        let panicked = |_| Tool::Broken("could not be asked".to_owned());
        KindFacts {
            podman: podman.join().unwrap_or_else(panicked),
            kind: kind.join().unwrap_or_else(panicked),
            kubectl: kubectl.join().unwrap_or_else(panicked),
            engine: engine
                .join()
                .unwrap_or_else(|_| Err("podman could not be asked".to_owned())),
            node_image: node_image.join().unwrap_or_default(),
            inotify: inotify(),
        }
    })
}

/// What processes on this machine need.
pub(super) fn local() -> LocalFacts {
    let server = |found: anyhow::Result<Option<embedded::Programs>>| match found {
        Ok(Some(programs)) => Server::Here(programs.version, programs.folder.display().to_string()),
        Ok(None) => Server::Absent,
        Err(error) => Server::Broken(format!("{error:#}")),
    };
    let (postgresql, redis) = (
        server(embedded::available_postgresql()),
        server(embedded::available_redis()),
    );
    // Python takes a while to answer, so it is asked only where it matters.
    let needs_pip = [&postgresql, &redis].contains(&&Server::Absent);
    LocalFacts {
        pip: needs_pip.then(embedded::pip).flatten(),
        postgresql,
        redis,
    }
}

/// What every run needs; `images` is where podman stores images.
pub(super) fn common(images: Option<&str>, stack: &Path) -> CommonFacts {
    CommonFacts {
        root: rustix::process::geteuid().is_root(),
        memory_available: memory_available(),
        target_free: free(&run_folder::target()),
        images_free: images.and_then(|folder| free(Path::new(folder))),
        taken_ports: taken_ports(stack),
        garbage: gc::Machine::look()
            .map(|machine| gc::judge(&machine, false).0.len())
            .map_err(|error| format!("{error:#}")),
    }
}

fn ask(program: &str, arguments: &[&str], limit: Duration) -> Result<String, Failure> {
    let mut command = process::Command::new(program);
    command
        .args(arguments)
        .env("KIND_EXPERIMENTAL_PROVIDER", "podman");
    Command::new(command)
        .deadline(limit)
        .capture(&Cancel::never())
        .map(|output| output.text())
}

/// What the program said last, for one line.
fn last_words(failure: &Failure) -> String {
    failure
        .last_lines()
        .last()
        .cloned()
        .unwrap_or_else(|| failure.ended().to_string())
}

fn version(program: &str, arguments: &[&str]) -> Tool {
    if which::which(program).is_err() {
        return Tool::Absent;
    }
    match ask(program, arguments, ANSWER) {
        Ok(text) => Tool::Works(text),
        Err(failure) => Tool::Broken(last_words(&failure)),
    }
}

pub(super) fn engine() -> Result<Engine, String> {
    if which::which("podman").is_err() {
        return Err("podman is not on PATH".to_owned());
    }
    let text =
        ask("podman", &["info", "--format", "json"], ANSWER).map_err(|failure| last_words(&failure))?;
    serde_json::from_str(&text).map_err(|error| format!("`podman info` tells something unknown: {error}"))
}

fn look_for_node_image(asked_for: Option<&str>) -> Option<NodeImage> {
    if which::which("podman").is_err() || which::which("kind").is_err() {
        return None;
    }
    let asked = |at_hand, here| {
        let asked_for = asked_for.map(ToOwned::to_owned);
        Some(NodeImage {
            asked_for,
            at_hand,
            here,
        })
    };
    if let Some(image) = asked_for
        && ask("podman", &["image", "exists", image], ANSWER).is_ok()
    {
        return asked(AtHand::Here, vec![image.to_owned()]);
    }
    let names = ask(
        "podman",
        &["images", "--format", "{{.Repository}}:{{.Tag}}"],
        ANSWER,
    )
    .unwrap_or_default();
    let here = names
        .lines()
        .filter(|name| name.contains("kindest/node:"))
        .map(ToOwned::to_owned)
        .collect();
    let image = asked_for.unwrap_or(SOME_NODE_IMAGE);
    match ask("podman", &["manifest", "inspect", image], REGISTRY) {
        Ok(_) => asked(AtHand::Pullable, here),
        Err(failure) => asked(AtHand::No(last_words(&failure)), here),
    }
}

fn inotify() -> Option<(u64, u64)> {
    let read = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}"))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    Some((read("max_user_watches")?, read("max_user_instances")?))
}

fn memory_available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kibibytes| kibibytes * 1024)
}

/// Free bytes for an ordinary user in the file system of a folder, or of the nearest one above that exists.
fn free(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

fn taken_ports(stack: &Path) -> Vec<(u16, String, String)> {
    // What is wrong with the file is told by the run itself, with line and column.
    let Ok(stack) = stack::read(stack) else {
        return Vec::new();
    };
    stack
        .ports()
        .map(|(owner, name, port)| (*port.host.get_ref(), format!("{owner}.{name}")))
        .filter_map(|(port, name)| {
            let who = match ports::unusable(port)? {
                Unusable::NotReached => {
                    "a rule of the firewall, which sends its connections elsewhere".to_owned()
                }
                Unusable::InUse | Unusable::SpokenFor => {
                    listener::who(port).unwrap_or_else(|| "somebody".to_owned())
                }
            };
            Some((port, name, who))
        })
        .collect()
}
