//! Memory admission: the memory that a run may use, and the expected need of each task. Tasks that do not fit together
//! run one after the other.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use subprocess::proc;

use super::{
    measure::MEMORY,
    plan::{Plan, TaskKind},
};
use crate::{
    doctor,
    run_folder::{ProviderName, RunFolder},
};

const MEBIBYTE: u64 = 1 << 20;

/// The resources of the plan, in MiB.
const HERE: &str = "memory";
/// Memory of the virtual machine that containers run in (podman machine).
const ENGINE: &str = "engine-memory";

/// Number of earlier runs whose peaks count: a warm compile needs less than a cold one, so one run is not enough.
const RUNS: usize = 10;

/// Memory of each compile job: the largest links of a debug build need about this much.
const COMPILE_JOB: u64 = 768 * MEBIBYTE;

/// The memory of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget {
    /// Bytes available to tasks on this machine, and their origin; `None` if unknown, which bounds nothing.
    pub(crate) here: Option<(u64, String)>,
    /// Bytes of the virtual machine that containers run in, if there is one.
    pub(crate) engine: Option<u64>,
    /// Peak of each task in earlier runs, in bytes.
    pub(crate) peaks: BTreeMap<String, u64>,
}

impl Budget {
    /// Measures the available memory and reads the peaks of the provider's earlier runs.
    pub(crate) fn measure(provider: ProviderName, runs: &[RunFolder]) -> Self {
        let limits = [
            proc::available_memory().map(|bytes| (bytes, "available on this machine".to_owned())),
            proc::read("self/cgroup").and_then(|own| cgroup(Path::new("/sys/fs/cgroup"), &own)),
        ];
        Self {
            here: limits.into_iter().flatten().min_by_key(|(bytes, _)| *bytes),
            engine: (provider == ProviderName::Kind)
                .then(doctor::engine_memory)
                .flatten(),
            peaks: peaks(provider, runs),
        }
    }

    /// Describes the memory that was available when the run started.
    pub(crate) fn description(&self) -> Option<String> {
        let here = self
            .here
            .as_ref()
            .map(|(bytes, from)| format!("{} MiB {from}", bytes / MEBIBYTE));
        let engine = self
            .engine
            .map(|bytes| format!("{} MiB in podman's machine", bytes / MEBIBYTE));
        let both: Vec<String> = here.into_iter().chain(engine).collect();
        (!both.is_empty()).then(|| both.join(", "))
    }

    /// Sets the memory need of each task, and limits the compile jobs to the memory. Returns a warning for each task that
    /// may not fit even alone.
    pub(crate) fn apply(&self, provider: ProviderName, plan: &mut Plan) -> Vec<String> {
        let mut warnings = Vec::new();
        let stack = match provider {
            // Control plane, PostgreSQL, Redis and the services, which run beside later tasks.
            ProviderName::Kind => 1024 * MEBIBYTE,
            ProviderName::Local | ProviderName::Cluster => 192 * MEBIBYTE,
        };
        if let Some((bytes, from)) = &self.here {
            let on_engine = self.engine.is_some();
            let capacity = capacity(*bytes, if on_engine { 0 } else { stack });
            let is_here = |kind: TaskKind| !on_engine || !kind.is_containers();
            warnings.extend(self.admit(plan, HERE, capacity, from, is_here));
            compile_jobs(plan, *bytes);
        }
        if let Some(bytes) = self.engine {
            let from = "in podman's machine";
            warnings.extend(self.admit(
                plan,
                ENGINE,
                capacity(bytes, stack),
                from,
                TaskKind::is_containers,
            ));
        }
        warnings
    }

    fn admit(
        &self,
        plan: &mut Plan,
        resource: &str,
        capacity: u64,
        from: &str,
        is_there: impl Fn(TaskKind) -> bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        plan.resource(resource, capacity);
        for task in plan.tasks.iter_mut().filter(|task| !task.always) {
            let kind = task.action.kind;
            let Some(usual) = kind.usual_memory().filter(|_| is_there(kind)) else {
                continue;
            };
            // A tenth above the peak: the next run may need a little more.
            let known = self.peaks.get(&task.name).map(|peak| peak + peak / 10);
            let need = known.unwrap_or(usual).div_ceil(MEBIBYTE);
            if let Some(known) = known.filter(|known| known.div_ceil(MEBIBYTE) > capacity) {
                warnings.push(format!(
                    "{} needed {} MiB in an earlier run, but {capacity} MiB are {from}: it runs alone, and may be killed \
                     (exit 137)",
                    task.name,
                    known.div_ceil(MEBIBYTE)
                ));
            }
            task.needs.insert(resource.to_owned(), need.min(capacity).max(1));
        }
        warnings
    }
}

/// Returns the MiB of these bytes that tasks may use beside the stack.
fn capacity(bytes: u64, stack: u64) -> u64 {
    // A twentieth for uncounted use; at least half, so that needs still differ.
    (bytes - bytes / 20).saturating_sub(stack).max(bytes / 2) / MEBIBYTE
}

/// Limits cargo, which runs as many compilers as there are CPUs, to as many as fit.
fn compile_jobs(plan: &mut Plan, bytes: u64) {
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let jobs = (bytes / COMPILE_JOB).max(1);
    if jobs >= cpus {
        return;
    }
    for task in &mut plan.tasks {
        if matches!(task.action.kind, TaskKind::Check | TaskKind::Compile) {
            for step in &mut task.action.steps {
                step.limit_compile_jobs(jobs);
            }
        }
    }
}

impl TaskKind {
    /// Whether its processes run in containers.
    fn is_containers(self) -> bool {
        matches!(
            self,
            Self::Cluster | Self::Image | Self::Load | Self::Pull | Self::Deploy
        )
    }

    /// Expected memory of an unmeasured task, in bytes.
    fn usual_memory(self) -> Option<u64> {
        let mebibytes = match self {
            Self::Check => 768,
            Self::Compile => 1536,
            Self::Pull | Self::Load => 256,
            Self::Cluster | Self::Image | Self::Test => 512,
            Self::Deploy => 128,
            Self::Preflight | Self::Collect | Self::Teardown => return None,
        };
        Some(mebibytes * MEBIBYTE)
    }
}

/// Returns the peak of each task in the newest runs of a provider.
fn peaks(provider: ProviderName, runs: &[RunFolder]) -> BTreeMap<String, u64> {
    let mut peaks = BTreeMap::new();
    let of_provider = runs.iter().rev().filter(|run| run.owner().provider == provider);
    for run in of_provider.take(RUNS) {
        let file = run.path().join(::report::FILES.report);
        // A running or killed run has no report.
        let report: Option<Value> = fs::read(file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let tasks = report.as_ref().and_then(|report| report["tasks"].as_array());
        for task in tasks.into_iter().flatten() {
            if let (Some(name), Some(peak)) = (task["name"].as_str(), task["measured"][MEMORY].as_f64()) {
                let known = peaks.entry(name.to_owned()).or_insert(0);
                *known = (peak as u64).max(*known);
            }
        }
    }
    peaks
}

/// Returns the bytes that the tightest control group (v1 or v2) of this process leaves, and their origin.
fn cgroup(root: &Path, own: &str) -> Option<(u64, String)> {
    let mut found: Option<(u64, String)> = None;
    for line in own.lines() {
        // proc_pid_cgroup(5): hierarchy:controllers:path, with no controllers in version 2.
        let mut fields = line.splitn(3, ':');
        let (_, Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let version = match controllers {
            "" => &VERSION_2,
            _ if controllers.split(',').any(|name| name == "memory") => &VERSION_1,
            _ => continue,
        };
        let base = root.join(version.folder);
        // In a container the path may be the host's, while only the own group is visible, at the root.
        let own = base.join(path.trim_start_matches('/'));
        for group in own.ancestors().take_while(|group| group.starts_with(&base)) {
            if let Some(left) = version.left(group)
                && found.as_ref().is_none_or(|(min, _)| left < *min)
            {
                found = Some((left, format!("left in the control group {}", group.display())));
            }
        }
    }
    found
}

/// The files of one version of control groups.
struct Version {
    folder: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Field of `memory.stat` with the reclaimable cache.
    cache: &'static str,
}

const VERSION_1: Version = Version {
    folder: "memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};

const VERSION_2: Version = Version {
    folder: "",
    limit: "memory.max",
    usage: "memory.current",
    cache: "inactive_file",
};

impl Version {
    fn left(&self, group: &Path) -> Option<u64> {
        let number =
            |file: &str| -> Option<u64> { fs::read_to_string(group.join(file)).ok()?.trim().parse().ok() };
        // Version 1 writes "no limit" as the largest number of pages.
        let limit = number(self.limit).filter(|limit| *limit < 1 << 60)?;
        let usage = number(self.usage).unwrap_or(0);
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cache = stat.lines().find_map(|line| {
            let (name, value) = line.split_once(' ')?;
            (name == self.cache).then(|| value.parse::<u64>().ok())?
        });
        Some(limit.saturating_sub(usage.saturating_sub(cache.unwrap_or(0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e2e::{
        plan,
        settings::{Order, testing},
    };

    fn plan_with(budget: &Budget) -> (Plan, Vec<String>) {
        let mut plan = plan::make(&testing::settings(ProviderName::Kind, Order::Graph));
        let warnings = budget.apply(ProviderName::Kind, &mut plan);
        taskgraph::Graph::new(plan.clone()).unwrap();
        (plan, warnings)
    }

    fn together(plan: &Plan, one: &str, other: &str) -> bool {
        let need = |name: &str| plan.tasks.iter().find(|task| task.name == name).unwrap().needs[HERE];
        need(one) + need(other) <= plan.resources[HERE]
    }

    fn with(gibibytes: u64, peaks: &[(&str, u64)]) -> Budget {
        Budget {
            here: Some((gibibytes << 30, "here".to_owned())),
            engine: None,
            peaks: peaks
                .iter()
                .map(|(name, peak)| ((*name).to_owned(), *peak))
                .collect(),
        }
    }

    #[test]
    fn images_are_built_in_parallel_only_if_both_fit() {
        let (roomy, _) = plan_with(&with(16, &[]));
        assert!(together(&roomy, "image:gateway", "image:datastorage"));
        let (tight, warnings) = plan_with(&with(
            2,
            &[("image:gateway", 900 << 20), ("image:datastorage", 900 << 20)],
        ));
        assert!(!together(&tight, "image:gateway", "image:datastorage"));
        assert_eq!(warnings.len(), 0, "each fits alone: {warnings:?}");
    }

    #[test]
    fn warns_about_a_task_that_does_not_fit_alone() {
        let (plan, warnings) = plan_with(&with(1, &[("compile", 3 << 30)]));
        assert!(!together(&plan, "compile", "cluster"));
        assert!(
            warnings[0].starts_with("compile needed 3380 MiB in an earlier run, but 512 MiB are here"),
            "{warnings:?}"
        );
        let compile = plan.tasks.iter().find(|task| task.name == "compile").unwrap();
        let commands: Vec<String> = compile
            .action
            .steps
            .iter()
            .flat_map(|step| step.lines())
            .collect();
        assert!(commands[0].contains("--jobs 1"), "{commands:?}");
    }

    #[test]
    fn containers_use_the_memory_of_their_virtual_machine() {
        let budget = Budget {
            engine: Some(2 << 30),
            ..with(16, &[])
        };
        let (plan, _) = plan_with(&budget);
        let needs = |name: &str| {
            plan.tasks
                .iter()
                .find(|task| task.name == name)
                .unwrap()
                .needs
                .clone()
        };
        assert!(needs("compile").contains_key(HERE) && !needs("compile").contains_key(ENGINE));
        assert!(needs("image:gateway").contains_key(ENGINE) && !needs("image:gateway").contains_key(HERE));
    }

    #[test]
    fn finds_the_tightest_control_group_of_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let put = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        put("memory/outer/memory.limit_in_bytes", "1000000\n");
        put("memory/outer/memory.usage_in_bytes", "400000\n");
        put(
            "memory/outer/memory.stat",
            "cache 1\ntotal_inactive_file 100000\n",
        );
        put(
            "memory/outer/inner/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        let own = "5:memory:/outer/inner\n0::/slice/job\n";
        let (left, from) = cgroup(root.path(), own).unwrap();
        assert_eq!(left, 700_000);
        assert!(from.ends_with("memory/outer"), "{from}");
        put("slice/memory.max", "600000\n");
        put("slice/memory.current", "100000\n");
        put("slice/job/memory.max", "max\n");
        assert_eq!(cgroup(root.path(), own).unwrap().0, 500_000);
    }
}
