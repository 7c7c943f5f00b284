//! Declaration of a scenario: what it proves, which components it needs, and how long it takes.

use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use super::context::Context;
use super::part::Part;
use crate::stack::Stack;

/// A requirement on the stack file beyond the services' URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// The control command, which stops and starts components.
    Control,
    /// The Kubernetes API, to check the Gateway's requests.
    Kubeconfig,
    /// PostgreSQL as a superuser.
    SqlAdmin,
    /// Redis itself.
    Redis,
    /// The services' programs, to start private instances.
    Programs,
    /// The workspace's sources.
    Workspace,
    /// Faults of the Kubernetes API on demand.
    Faults,
    /// A scheduler that starts the new pod before it ends the old one.
    Rollout,
    /// A SIGKILL that preserves the process's files.
    Crash,
    /// The runner and its sources.
    Runner,
}

impl Requirement {
    /// Returns why the stack does not meet it, if so.
    pub(crate) fn unmet(self, stack: &Stack) -> Option<String> {
        let (met, missing) = match self {
            Self::Control => (
                !stack.control.is_empty(),
                "control, which stops and starts components",
            ),
            Self::Kubeconfig => (stack.kubeconfig.is_some(), "kubeconfig"),
            Self::SqlAdmin => (
                stack.component("postgresql", "admin").is_ok(),
                "components.postgresql.admin",
            ),
            Self::Redis => (
                stack.component("redis", "redis").is_ok(),
                "components.redis.redis",
            ),
            Self::Programs => (!stack.programs.is_empty(), "programs, to start private instances"),
            Self::Workspace => (stack.workspace.is_some(), "workspace"),
            // A real API server has no fault injection, and disturbing it would affect every user.
            Self::Faults => {
                let embedded = stack.provider == "local";
                return (!embedded)
                    .then(|| "only the embedded Kubernetes API injects faults on demand".to_owned());
            }
            Self::Rollout => {
                let single = stack.provider == "local";
                return single.then(|| {
                    "a process cannot be replaced without a gap; a rolling update needs pods".to_owned()
                });
            }
            Self::Crash => {
                let foreign = stack.provider == "cluster";
                return foreign.then(|| {
                    "in a shared cluster a pod can be deleted but not killed, and its disk is deleted with it"
                        .to_owned()
                });
            }
            Self::Runner => (
                !stack.runner.is_empty() && stack.workspace.is_some(),
                "runner and workspace",
            ),
        };
        (!met).then(|| format!("the stack file has no {missing}"))
    }
}

/// The body of a scenario.
pub(crate) type Body = for<'a> fn(&'a Context) -> LocalBoxFuture<'a, Result<()>>;

/// One scenario of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// Id and what it proves, for instance `g01_identical_alerts_create_one_request`.
    pub(crate) name: &'static str,
    /// Components that must be undisturbed; other scenarios may use them too.
    pub(crate) shares: &'static [Part],
    /// Components that it breaks or measures, and therefore uses exclusively.
    pub(crate) alone: &'static [Part],
    /// Requirements on the stack file; the scenario is skipped with the reason if one is unmet.
    pub(crate) requires: &'static [Requirement],
    /// Recorded duration on two cores; the longest scenarios start first.
    pub(crate) estimate: Duration,
    /// Maximum duration; the scenario fails after it.
    pub(crate) deadline: Duration,
    /// The code.
    pub(crate) body: Body,
}

impl Scenario {
    /// A scenario that takes about a second and uses no component.
    pub(crate) const fn new(name: &'static str, body: Body) -> Self {
        Self {
            name,
            shares: &[],
            alone: &[],
            requires: &[],
            estimate: Duration::from_secs(1),
            deadline: Duration::from_secs(60),
            body,
        }
    }

    /// Sets the components that must be undisturbed.
    pub(crate) const fn shares(mut self, parts: &'static [Part]) -> Self {
        self.shares = parts;
        self
    }

    /// Sets the components used exclusively.
    pub(crate) const fn alone(mut self, parts: &'static [Part]) -> Self {
        self.alone = parts;
        self
    }

    /// Sets the requirements on the stack file.
    pub(crate) const fn requires(mut self, requirements: &'static [Requirement]) -> Self {
        self.requires = requirements;
        self
    }

    /// Sets the recorded duration and the deadline, in seconds.
    pub(crate) const fn takes(mut self, estimate: u64, deadline: u64) -> Self {
        self.estimate = Duration::from_secs(estimate);
        self.deadline = Duration::from_secs(deadline);
        self
    }

    /// The first word of the name, for instance `g01`.
    pub(crate) fn id(&self) -> &'static str {
        self.name.split('_').next().unwrap_or(self.name)
    }

    /// All components that it uses.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        self.shares.iter().chain(self.alone).copied()
    }

    /// Returns why it cannot run against this stack, if so.
    pub(crate) fn unmet(&self, stack: &Stack) -> Option<String> {
        self.requires
            .iter()
            .find_map(|requirement| requirement.unmet(stack))
    }
}
