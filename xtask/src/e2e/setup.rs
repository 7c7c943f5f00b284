//! From arguments to settings: ports, base images and programs are resolved on this machine before the plan is made.

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
    provider::{Cluster, Kind, Local, Provider},
    settings::Settings,
};
use crate::{
    doctor,
    ports::{self, Reserved},
    run_folder::{self, ProviderName, RunFolder, State},
    stack::{Stack, shown},
};
use subprocess::eprint_line;

/// The selected provider, and the reason.
pub(super) struct Choice {
    pub(super) provider: ProviderName,
    pub(super) reason: String,
}

/// Returns the requested provider, or else the best one that works on this machine.
pub(super) fn provider(options: &Options) -> Choice {
    if let Some(provider) = options.provider {
        return Choice {
            provider,
            reason: "as requested".to_owned(),
        };
    }
    let kind = doctor::provider_support(ProviderName::Kind, options.node_image.as_deref());
    if kind.works() {
        return Choice {
            provider: ProviderName::Kind,
            reason: "podman, kind, kubectl and a node image are available".to_owned(),
        };
    }
    Choice {
        provider: ProviderName::Local,
        reason: format!("kind cannot run on this machine: {}", kind.why_not()),
    }
}

/// A run with its folder and its reserved ports.
pub(super) struct NewRun {
    pub(super) folder: RunFolder,
    pub(super) settings: Settings,
    pub(super) reserved: Reserved,
    /// Whether the stack was there before.
    pub(super) is_reused: bool,
}

/// Returns settings for printing a plan; nothing is created, and the run's name is a placeholder.
pub(super) fn preview(options: &Options, stack: Stack, provider: ProviderName) -> anyhow::Result<Settings> {
    let folder = run_folder::runs().join("RUN");
    let (ports, _) = new_ports(&stack)?;
    settings(options, stack, provider, "RUN", &folder, ports)
}

/// Creates a run, or with `--keep` takes over the run that was kept before.
pub(super) fn real(options: &Options, stack: Stack, provider: ProviderName) -> anyhow::Result<NewRun> {
    if let Some((mut folder, kept)) = kept_run(options, &stack, provider) {
        folder.take_over()?;
        eprint_line(format!(
            "run {} is kept: only changes are built and deployed",
            folder.run()
        ));
        let settings = settings(options, stack, provider, folder.run(), folder.path(), kept)?;
        return Ok(NewRun {
            folder,
            settings,
            reserved: Reserved::default(),
            is_reused: true,
        });
    }
    let mut folder = RunFolder::create(
        &run_folder::runs(),
        &run_folder::index(),
        provider,
        &stack.stack.name,
    )?;
    let (ports, reserved) = new_ports(&stack)?;
    std::fs::write(folder.path().join(PORTS), serde_json::to_vec_pretty(&ports)?)?;
    let settings = settings(options, stack, provider, folder.run(), folder.path(), ports)?;
    if let Provider::Cluster(Cluster { context, .. }) = &settings.provider {
        folder.set_cluster(format!("{context}/{}", settings.namespace()))?;
    }
    Ok(NewRun {
        folder,
        settings,
        reserved,
        is_reused: false,
    })
}

/// File of a run's ports, for its next round.
const PORTS: &str = "ports.json";

/// Returns the newest kept run of this stack, if its ports are still those of the stack.
fn kept_run(options: &Options, stack: &Stack, provider: ProviderName) -> Option<(RunFolder, ports::Kept)> {
    let runs = RunFolder::list(&run_folder::runs(), &run_folder::index());
    let is_ours = |folder: &RunFolder| {
        let owner = folder.owner();
        owner.state == State::Kept
            && !owner.process.is_alive()
            && owner.provider == provider
            && owner.stack == stack.stack.name
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
        let listener = doctor::listener::owner(declared)
            .filter(|_| why == ports::Unusable::InUse)
            .map(|listener| format!(" by {listener}"))
            .unwrap_or_default();
        eprint_line(format!(
            "port {declared} ({name}) {why}{listener}; using port {instead}"
        ));
    }
    let api_port = reserved.any(&locks)?;
    Ok((ports::Kept { ports, api_port }, reserved))
}

fn settings(
    options: &Options,
    mut stack: Stack,
    provider: ProviderName,
    run: &str,
    folder: &Path,
    ports: ports::Kept,
) -> anyhow::Result<Settings> {
    let ports::Kept { ports, api_port } = ports;
    let provider = match provider {
        ProviderName::Kind => Provider::Kind(Kind {
            node_image: options.node_image.clone(),
        }),
        ProviderName::Local => Provider::Local(Local {
            kube_embedded: kube_embedded(&run_folder::workspace())?,
            api_port,
        }),
        ProviderName::Cluster => {
            // Each run has a namespace of its own in a cluster that others use too.
            stack.stack.namespace = format!("{}-{run}", stack.stack.namespace).to_lowercase();
            let required = "is required by --provider cluster";
            let context = options.context.clone();
            let registry = options.registry.as_ref();
            Provider::Cluster(Cluster {
                context: context.with_context(|| format!("--context {required}"))?,
                registry: registry
                    .with_context(|| format!("--registry {required}"))?
                    .trim_end_matches('/')
                    .to_owned(),
            })
        }
    };
    let mut bases = BTreeMap::new();
    for (name, service) in &stack.services {
        let dockerfile = stack.path(&service.dockerfile);
        if let Some(base) = base_image(&dockerfile)? {
            bases.insert(name.get_ref().clone(), base);
        }
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
        bases,
        stack_argument: options.stack.clone(),
        filters: options.filters.clone(),
        shard: options.shard.clone(),
        jobs: options.jobs,
        rounds: options.rounds.rounds(),
        own_program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("xtask")),
        stack,
    })
}

/// Returns the installed program of the embedded Kubernetes API, for a workspace that cannot build it:
/// `$KUBE_EMBEDDED_BIN`, or else the one beside this program or in PATH. The preflight reports a missing one.
fn kube_embedded(workspace: &Path) -> anyhow::Result<Option<PathBuf>> {
    if is_member(workspace, KUBE_EMBEDDED)? {
        return Ok(None);
    }
    let configured = std::env::var_os("KUBE_EMBEDDED_BIN").map(PathBuf::from);
    let beside = || {
        std::env::current_exe()
            .ok()
            .map(|own| own.with_file_name(KUBE_EMBEDDED))
            .filter(|path| path.is_file())
    };
    let found = configured
        .or_else(beside)
        .or_else(|| which::which(KUBE_EMBEDDED).ok());
    Ok(Some(found.unwrap_or_else(|| PathBuf::from(KUBE_EMBEDDED))))
}

/// Whether a package belongs to the workspace: in the lock file all others have a source.
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
    if !file.exists() {
        return Ok(false);
    }
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", shown(&file)))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("invalid lock file {}", shown(&file)))?;
    Ok(lock
        .package
        .iter()
        .any(|known| known.name == package && known.source.is_none()))
}

/// Returns the base image of a Dockerfile's last stage, possibly through other stages.
fn base_image(dockerfile: &Path) -> anyhow::Result<Option<String>> {
    let text = std::fs::read_to_string(dockerfile)
        .with_context(|| format!("cannot read {}", dockerfile.display()))?;
    let images = dockerfile::images(&dockerfile::parse(&text), &BTreeMap::new());
    // From the last stage to the one that starts from an image.
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

/// Renders every template once, so that an error in one is found before anything starts.
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
    if let (true, Provider::Cluster(_)) = (errors.is_empty(), &settings.provider) {
        errors.extend(super::shared_cluster::rejections(settings)?);
    }
    if errors.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
    anyhow::bail!(texts.join("\n"))
}

/// Installs the handler of Ctrl-C: the first one cancels and cleans up, the second one exits at once and lists what
/// remains.
pub(super) fn on_signals(
    interrupt: &Interrupt,
    folder: &RunFolder,
    settings: &Settings,
) -> anyhow::Result<()> {
    let (interrupt, folder) = (interrupt.clone(), folder.clone());
    let cluster = match settings.provider {
        Provider::Kind(_) => Some(settings.cluster()),
        Provider::Local(_) | Provider::Cluster(_) => None,
    };
    let count = AtomicUsize::new(0);
    ctrlc::set_handler(move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            eprint_line("interrupted: cleaning up (Ctrl-C again to exit at once)");
            interrupt.cancel("Ctrl-C");
            return;
        }
        let program = crate::called_as();
        eprint_line(match folder.owner().state {
            State::Kept => format!("exited without cleanup; the stack stays, `{program} down` removes it:"),
            _ => format!("exited without cleanup; `{program} gc` removes the rest:"),
        });
        for line in remains(&folder, cluster.as_deref()) {
            eprint_line(format!("  {line}"));
        }
        std::process::exit(130);
    })
    .context("cannot install the handler of Ctrl-C")
}

/// Returns what remains of a run that exits now, one line each. Runs no other program, since it may hang.
fn remains(folder: &RunFolder, cluster: Option<&str>) -> Vec<String> {
    let mut lines = vec![format!("folder {}", folder.path().display())];
    let records = run_folder::records_of(folder.path()).filter_map(|(_, record)| record.ok());
    for record in records.filter(subprocess::Record::is_alive) {
        lines.push(format!("process {} ({})", record.process.pid, record.name));
    }
    for subprocess::Orphan { process, command, .. } in subprocess::Orphan::live_children() {
        let short: String = command.chars().take(60).collect();
        lines.push(format!("process {} ({short})", process.pid));
    }
    if let Some(cluster) = cluster {
        lines.push(format!(
            "kind cluster {cluster} and its podman network, if they exist"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_base_image_of_the_last_stage() {
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
