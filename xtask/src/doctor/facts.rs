//! Facts about this machine, without judgement: [`judge`](super::judge) compares them with thresholds.

use std::path::Path;
use std::process;
use std::time::Duration;

use serde::Deserialize;
use subprocess::{Cancel, Command, Failure, proc};

use super::listener;
use crate::gc;
use crate::ports::{self, Unusable};
use crate::run_folder;
use crate::stack;

/// Maximum time of a tool that only prints something.
const TOOL_LIMIT: Duration = Duration::from_secs(30);
/// Maximum time of a registry's response.
const REGISTRY_LIMIT: Duration = Duration::from_secs(10);
/// Repository of kind's default node image. Any tag shows whether its registry responds.
const SOME_NODE_IMAGE: &str = "docker.io/kindest/node:latest";

/// A program on PATH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tool {
    Absent,
    /// Installed but failing: its last line of output.
    Broken(String),
    /// Output of its version command.
    Works(String),
}

/// Facts for the provider kind.
#[derive(Debug, Clone)]
pub(super) struct KindFacts {
    pub(super) podman: Tool,
    pub(super) kind: Tool,
    pub(super) kubectl: Tool,
    /// Podman's description of the machine that runs containers, or why there is none.
    pub(super) engine: Result<Engine, String>,
    /// Absent without kind or podman: a registry may be slow to respond.
    pub(super) node_image: Option<NodeImage>,
    /// Linux: maximum watches and instances per user.
    pub(super) inotify: Option<(u64, u64)>,
}

/// Output of `podman info`.
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
    /// Requested image; kind's default without one.
    pub(super) requested: Option<String>,
    pub(super) availability: Availability,
    /// Node images in podman's local storage.
    pub(super) local: Vec<String>,
}

/// Availability of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Availability {
    /// In podman's local storage.
    Local,
    /// Its registry has it.
    Pullable,
    /// Neither, and the registry's error.
    Unavailable(String),
}

/// Facts for the provider local.
#[derive(Debug)]
pub(super) struct LocalFacts {
    pub(super) postgresql: Server,
    pub(super) redis: Server,
    pub(super) pip: Option<String>,
}

/// Programs of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    /// Version and folder.
    Found(String, String),
    Absent,
    Broken(String),
}

/// Facts for every provider.
#[derive(Debug)]
pub(super) struct CommonFacts {
    pub(super) root: bool,
    /// Bytes.
    pub(super) memory_available: Option<u64>,
    /// Free bytes in cargo's target folder.
    pub(super) target_free: Option<u64>,
    /// Free bytes in podman's storage.
    pub(super) images_free: Option<u64>,
    /// Host ports of the stack that can't be used: port, its name in the stack, and the reason.
    pub(super) ports_in_use: Vec<(u16, String, String)>,
    /// Number of things that `gc` would remove, or why that is unknown.
    pub(super) garbage: Result<usize, String>,
}

/// Collects the facts for kind; `node_image` is the requested one.
pub(super) fn kind(node_image: Option<&str>) -> KindFacts {
    std::thread::scope(|scope| {
        let podman = scope.spawn(|| version("podman", &["--version"]));
        let kind = scope.spawn(|| version("kind", &["version"]));
        let kubectl = scope.spawn(|| version("kubectl", &["version", "--client"]));
        let engine = scope.spawn(engine);
        let node_image = scope.spawn(|| find_node_image(node_image));
        let panicked = |_| Tool::Broken("the check panicked".to_owned());
        KindFacts {
            podman: podman.join().unwrap_or_else(panicked),
            kind: kind.join().unwrap_or_else(panicked),
            kubectl: kubectl.join().unwrap_or_else(panicked),
            engine: engine
                .join()
                .unwrap_or_else(|_| Err("the check of podman panicked".to_owned())),
            node_image: node_image.join().unwrap_or_default(),
            inotify: inotify(),
        }
    })
}

/// Collects the facts for local.
pub(super) fn local() -> LocalFacts {
    let server = |found: anyhow::Result<Option<embedded::Programs>>| match found {
        Ok(Some(programs)) => Server::Found(programs.version, programs.folder.display().to_string()),
        Ok(None) => Server::Absent,
        Err(error) => Server::Broken(format!("{error:#}")),
    };
    let (postgresql, redis) = (
        server(embedded::POSTGRESQL.available()),
        server(embedded::REDIS.available()),
    );
    // Starting Python takes a while: only where it is needed.
    let needs_pip = [&postgresql, &redis].contains(&&Server::Absent);
    LocalFacts {
        pip: needs_pip.then(embedded::pip).flatten(),
        postgresql,
        redis,
    }
}

/// Collects the facts for every provider; `images` is podman's storage folder.
pub(super) fn common(images: Option<&str>, stack: Option<&Path>) -> CommonFacts {
    CommonFacts {
        root: rustix::process::geteuid().is_root(),
        memory_available: proc::available_memory(),
        target_free: free(&run_folder::target()),
        images_free: images.and_then(|folder| free(Path::new(folder))),
        ports_in_use: ports_in_use(stack),
        garbage: gc::Machine::look()
            .map(|machine| gc::judge(&machine, false).0.len())
            .map_err(|error| format!("{error:#}")),
    }
}

fn capture(program: &str, arguments: &[&str], limit: Duration) -> Result<String, Failure> {
    let mut command = process::Command::new(program);
    command
        .args(arguments)
        .env("KIND_EXPERIMENTAL_PROVIDER", "podman");
    Command::new(command)
        .deadline(limit)
        .capture(&Cancel::never())
        .map(|output| output.text())
}

/// Last line of output of a failed program, or how it ended.
fn last_line(failure: &Failure) -> String {
    failure
        .last_lines()
        .last()
        .cloned()
        .unwrap_or_else(|| failure.outcome().to_string())
}

fn version(program: &str, arguments: &[&str]) -> Tool {
    if which::which(program).is_err() {
        return Tool::Absent;
    }
    match capture(program, arguments, TOOL_LIMIT) {
        Ok(text) => Tool::Works(text),
        Err(failure) => Tool::Broken(last_line(&failure)),
    }
}

pub(super) fn engine() -> Result<Engine, String> {
    if which::which("podman").is_err() {
        return Err("podman is not on PATH".to_owned());
    }
    let text = capture("podman", &["info", "--format", "json"], TOOL_LIMIT)
        .map_err(|failure| last_line(&failure))?;
    serde_json::from_str(&text).map_err(|error| format!("cannot read the output of `podman info`: {error}"))
}

fn find_node_image(requested: Option<&str>) -> Option<NodeImage> {
    if which::which("podman").is_err() || which::which("kind").is_err() {
        return None;
    }
    let found = |availability, local| {
        let requested = requested.map(ToOwned::to_owned);
        Some(NodeImage {
            requested,
            availability,
            local,
        })
    };
    if let Some(image) = requested
        && capture("podman", &["image", "exists", image], TOOL_LIMIT).is_ok()
    {
        return found(Availability::Local, vec![image.to_owned()]);
    }
    let names = capture(
        "podman",
        &["images", "--format", "{{.Repository}}:{{.Tag}}"],
        TOOL_LIMIT,
    )
    .unwrap_or_default();
    let local = names
        .lines()
        .filter(|name| name.contains("kindest/node:"))
        .map(ToOwned::to_owned)
        .collect();
    let image = requested.unwrap_or(SOME_NODE_IMAGE);
    match capture("podman", &["manifest", "inspect", image], REGISTRY_LIMIT) {
        Ok(_) => found(Availability::Pullable, local),
        Err(failure) => found(Availability::Unavailable(last_line(&failure)), local),
    }
}

fn inotify() -> Option<(u64, u64)> {
    let read = |name: &str| proc::read(format!("sys/fs/inotify/{name}"))?.parse().ok();
    Some((read("max_user_watches")?, read("max_user_instances")?))
}

/// Free bytes for an ordinary user in the file system of a folder, or of its nearest existing ancestor.
fn free(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.exists())?;
    let stat = rustix::fs::statvfs(existing).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

fn ports_in_use(stack: Option<&Path>) -> Vec<(u16, String, String)> {
    // The run itself reports errors of the file, with line and column.
    let Some(Ok(stack)) = stack.map(stack::read) else {
        return Vec::new();
    };
    stack
        .ports()
        .map(|(owner, name, port)| (*port.host.get_ref(), format!("{owner}.{name}")))
        .filter_map(|(port, name)| {
            let unusable = ports::unusable(port)?;
            let owner = match unusable {
                Unusable::InUse => listener::owner(port),
                Unusable::Reserved | Unusable::Redirected => None,
            };
            let by = owner.map(|owner| format!(" by {owner}")).unwrap_or_default();
            Some((port, name, format!("{unusable}{by}")))
        })
        .collect()
}
