//! From arguments to settings: what is looked up on this machine before the plan is made.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Context;
use dockerfile::{Base, ReferenceKind};
use taskgraph::Interrupt;

use super::{
    Options,
    plan::KUBE_EMBEDDED,
    settings::{Remote, Settings},
};
use crate::{
    doctor,
    ports::{self, Reserved},
    run_folder::{self, Provider, RunFolder, State},
    stack::{Stack, shown},
};
use subprocess::tell;

/// Where the stack runs, and why there.
pub(super) struct Choice {
    pub(super) provider: Provider,
    pub(super) why: String,
}

/// The provider that was asked for, else the best that works here.
pub(super) fn provider(options: &Options) -> Choice {
    if let Some(provider) = options.provider {
        return Choice {
            provider,
            why: "as asked for".to_owned(),
        };
    }
    let kind = doctor::provider_support(Provider::Kind, options.node_image.as_deref());
    if kind.works() {
        return Choice {
            provider: Provider::Kind,
            why: "podman, kind, kubectl and a node image are here".to_owned(),
        };
    }
    Choice {
        provider: Provider::Local,
        why: format!("kind can't run here: {}", kind.why_not()),
    }
}

/// Settings for printing a plan: nothing is made, and the run's name is a placeholder.
pub(super) fn preview(options: &Options, stack: Stack, provider: Provider) -> anyhow::Result<Settings> {
    let folder = run_folder::runs().join("RUN");
    let (ports, _) = new_ports(&stack)?;
    settings(options, stack, provider, "RUN", &folder, ports)
}

/// Settings of a run with its folder: a new one, or with `--keep` the one that was kept before.
pub(super) fn real(
    options: &Options,
    stack: Stack,
    provider: Provider,
) -> anyhow::Result<(RunFolder, Settings, Reserved)> {
    if let Some((mut folder, kept)) = kept_run(options, &stack, provider) {
        folder.take_over()?;
        tell(format!(
            "run {} stands: only what changed is renewed",
            folder.run()
        ));
        let settings = settings(options, stack, provider, folder.run(), folder.path(), kept)?;
        return Ok((folder, settings, Reserved::default()));
    }
    let mut folder = RunFolder::create(
        &run_folder::runs(),
        &run_folder::index(),
        provider,
        &stack.stack.name,
    )?;
    if let Some(Remote { context, .. }) = remote(options, provider) {
        folder.set_cluster(format!("{context}/{}", own_namespace(&stack, folder.run())))?;
    }
    let (ports, reserved) = new_ports(&stack)?;
    std::fs::write(folder.path().join(PORTS), serde_json::to_vec_pretty(&ports)?)?;
    let settings = settings(options, stack, provider, folder.run(), folder.path(), ports)?;
    Ok((folder, settings, reserved))
}

/// Where a run's ports are written, for the next round on it.
const PORTS: &str = "ports.json";

/// The youngest run that was kept of this stack, if its ports are still those of the stack.
fn kept_run(options: &Options, stack: &Stack, provider: Provider) -> Option<(RunFolder, ports::Kept)> {
    let runs = RunFolder::list(&run_folder::runs(), &run_folder::index());
    let is_ours = |folder: &RunFolder| {
        let owner = folder.owner();
        owner.state == State::Kept && owner.provider == provider && owner.stack == stack.stack.name
    };
    let folder = runs.into_iter().rev().find(is_ours).filter(|_| options.keep)?;
    let kept: ports::Kept = serde_json::from_slice(&std::fs::read(folder.path().join(PORTS)).ok()?).ok()?;
    kept.fits(stack).then_some((folder, kept))
}

fn new_ports(stack: &Stack) -> anyhow::Result<(ports::Kept, Reserved)> {
    let locks = run_folder::port_locks();
    let (ports, reserved, taken) = ports::assign(stack, &locks)?;
    for ports::Taken {
        name,
        declared,
        why,
        instead,
    } in taken
    {
        let who = doctor::listener::who(declared)
            .filter(|_| why == ports::Unusable::InUse)
            .map(|who| format!(" by {who}"))
            .unwrap_or_default();
        tell(format!(
            "port {declared} of 127.0.0.1 ({name}) {why}{who}: {instead} is taken instead"
        ));
    }
    let api_port = reserved.any(&locks)?;
    Ok((ports::Kept { ports, api_port }, reserved))
}

fn settings(
    options: &Options,
    stack: Stack,
    provider: Provider,
    run: &str,
    folder: &Path,
    ports: ports::Kept,
) -> anyhow::Result<Settings> {
    let ports::Kept { ports, api_port } = ports;
    let mut bases = BTreeMap::new();
    for (name, service) in &stack.services {
        let dockerfile = stack.path(&service.dockerfile);
        if let Some(base) = base_image(&dockerfile)? {
            bases.insert(name.get_ref().clone(), base);
        }
    }
    let remote = remote(options, provider);
    let mut stack = stack;
    if remote.is_some() {
        stack.stack.namespace = own_namespace(&stack, run);
    }
    Ok(Settings {
        run: run.to_owned(),
        provider,
        order: options.order,
        build: options.build,
        workspace: run_folder::workspace(),
        target: run_folder::target(),
        folder: folder.to_path_buf(),
        ports,
        kube_embedded: kube_embedded(&run_folder::workspace())?,
        api_port,
        bases,
        remote,
        node_image: options.node_image.clone(),
        filters: options.filters.clone(),
        shard: options.shard.clone(),
        jobs: options.jobs,
        own_program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("xtask")),
        stack,
    })
}

fn remote(options: &Options, provider: Provider) -> Option<Remote> {
    let context = options.context.clone()?;
    let registry = options.registry.as_ref()?.trim_end_matches('/').to_owned();
    (provider == Provider::Cluster).then_some(Remote { context, registry })
}

/// In a cluster that others use too each run has a namespace of its own.
fn own_namespace(stack: &Stack, run: &str) -> String {
    format!("{}-{run}", stack.stack.namespace).to_lowercase()
}

/// The installed program of the embedded Kubernetes API, for a workspace that can't build it: `$KUBE_EMBEDDED_BIN`,
/// else the one beside this program or in PATH. One that is nowhere is told by the preflight.
fn kube_embedded(workspace: &Path) -> anyhow::Result<Option<PathBuf>> {
    if is_member(workspace, KUBE_EMBEDDED)? {
        return Ok(None);
    }
    let told = std::env::var_os("KUBE_EMBEDDED_BIN").map(PathBuf::from);
    let beside = || {
        std::env::current_exe()
            .ok()
            .map(|own| own.with_file_name(KUBE_EMBEDDED))
            .filter(|path| path.is_file())
    };
    let found = told.or_else(beside).or_else(|| which::which(KUBE_EMBEDDED).ok());
    Ok(Some(found.unwrap_or_else(|| PathBuf::from(KUBE_EMBEDDED))))
}

/// Whether a package is one of the workspace's own: the lock file gives every other a source.
fn is_member(workspace: &Path, package: &str) -> anyhow::Result<bool> {
    #[derive(serde::Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        source: Option<String>,
    }
    let file = workspace.join("Cargo.lock");
    let text = std::fs::read_to_string(&file).with_context(|| format!("can't read {}", shown(&file)))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("{} is no lock file", shown(&file)))?;
    Ok(lock
        .package
        .iter()
        .any(|known| known.name == package && known.source.is_none()))
}

/// The image that a Dockerfile's last stage begins with, if only by other stages.
fn base_image(dockerfile: &Path) -> anyhow::Result<Option<String>> {
    let text = std::fs::read_to_string(dockerfile)
        .with_context(|| format!("can't read {}", dockerfile.display()))?;
    let images = dockerfile::images(&dockerfile::parse(&text), &BTreeMap::new());
    // From the last stage down to the one that begins with an image.
    let mut stage = images.stages.len().checked_sub(1);
    while let Some(index) = stage {
        match images.stages.get(index).map(|stage| stage.base) {
            Some(Base::Stage(earlier)) if earlier < index => stage = Some(earlier),
            Some(Base::Image) => break,
            _ => return Ok(None),
        }
    }
    let from = images
        .references
        .iter()
        .find(|reference| reference.kind == ReferenceKind::From && reference.stage == stage);
    Ok(from.and_then(|from| from.expanded.clone()))
}

/// Renders every template once, so that a wrong name in one is found before anything starts.
pub(super) fn try_templates(settings: &Settings) -> anyhow::Result<()> {
    let sources = settings.sources(&BTreeMap::new());
    let mut errors = Vec::new();
    match sources.manifest_variables() {
        Ok(variables) => {
            for (name, _) in settings.stack.manifests() {
                errors.extend(sources.manifest(name, &variables).err());
            }
        }
        Err(error) => errors.push(error),
    }
    if errors.is_empty() && settings.remote.is_some() {
        errors.extend(super::shared_cluster::refusals(settings)?);
    }
    if errors.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
    anyhow::bail!(texts.join("\n"))
}

/// Ctrl-C once: cancel and tidy up. Twice: leave now, saying what stays.
pub(super) fn on_signals(
    interrupt: &Interrupt,
    folder: &RunFolder,
    settings: &Settings,
) -> anyhow::Result<()> {
    let (interrupt, folder) = (interrupt.clone(), folder.clone());
    let cluster = (settings.provider == Provider::Kind).then(|| settings.cluster());
    let count = AtomicUsize::new(0);
    ctrlc::set_handler(move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            tell("interrupted: tidying up (again to leave at once)");
            interrupt.cancel("Ctrl-C");
            return;
        }
        tell("left at once; `cargo xtask gc` removes what stays:");
        for line in what_stays(&folder, cluster.as_deref()) {
            tell(format!("  {line}"));
        }
        // The point of the second Ctrl-C is not to wait for anything.
        std::process::exit(130);
    })
    .context("can't watch for Ctrl-C")
}

/// What a run that ends now leaves, a line each. Asks no other program: it may be one that hangs.
fn what_stays(folder: &RunFolder, cluster: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("folder {}", folder.path().display())];
    for entry in std::fs::read_dir(folder.processes())
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(record) = subprocess::Record::read(&entry.path())
            && record.is_alive()
        {
            lines.push(format!("process {} ({})", record.process.pid, record.name));
        }
    }
    for subprocess::Orphan { process, command, .. } in subprocess::Orphan::to_be() {
        let short: String = command.chars().take(60).collect();
        lines.push(format!("process {} ({short})", process.pid));
    }
    if let Some(cluster) = cluster {
        lines.push(format!(
            "kind cluster {cluster} and its podman network, as far as they were made"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_the_image_behind_the_last_stage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("Dockerfile");
        let base = |text: &str| {
            std::fs::write(&file, text).unwrap();
            base_image(&file).unwrap()
        };
        assert_eq!(
            base("FROM --platform=linux/amd64 ubi9:1\n").as_deref(),
            Some("ubi9:1")
        );
        let stages = "ARG V=3\nFROM builder:1 AS build\nRUN <<EOF\nFROM no:1\nEOF\nFROM \\\n  ubi9:$V AS base\n\
                      FROM base\nCOPY --from=build /a /a\n";
        assert_eq!(base(stages).as_deref(), Some("ubi9:3"));
        assert_eq!(base("FROM builder:1 AS build\nFROM scratch\n"), None);
    }
}
