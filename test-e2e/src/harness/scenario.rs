//! What a scenario says of itself: what it proves, which parts it needs, and how long it takes.

use std::time::Duration;

use anyhow::Result;
use futures::future::LocalBoxFuture;

use super::context::Context;
use super::part::Part;
use crate::stack::Stack;

/// What a scenario needs from the stack file beyond the services' URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// The command that stops and starts parts.
    Control,
    /// The Kubernetes API, to see what the Gateway made.
    Kubeconfig,
    /// PostgreSQL as a superuser.
    SqlAdmin,
    /// Redis itself.
    Redis,
    /// The services' programs, to start instances of one's own.
    Programs,
    /// The sources.
    Workspace,
    /// Faults of the Kubernetes API on demand.
    Faults,
    /// A scheduler that starts the new before it ends the old.
    Rollout,
    /// A SIGKILL that leaves in place what the process had on disk.
    Crash,
    /// The runner and its sources.
    Runner,
}

impl Requirement {
    /// Why the stack does not meet it, or nothing if it does.
    pub(crate) fn unmet(self, stack: &Stack) -> Option<String> {
        let (met, missing) = match self {
            Self::Control => (
                !stack.control.is_empty(),
                "control, by which parts are stopped and started",
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
            Self::Programs => (!stack.programs.is_empty(), "programs, from which to start others"),
            Self::Workspace => (stack.workspace.is_some(), "workspace"),
            // A real API server has no such thing, and to disturb it would disturb everybody.
            Self::Faults => {
                let embedded = stack.provider == "local";
                return (!embedded)
                    .then(|| "only the embedded Kubernetes API makes faults on demand".to_owned());
            }
            Self::Rollout => {
                let single = stack.provider == "local";
                return single.then(|| {
                    "one process can't take another's place without a gap; a rolling update needs pods"
                        .to_owned()
                });
            }
            Self::Crash => {
                let foreign = stack.provider == "cluster";
                return foreign.then(|| {
                    "in somebody's cluster a pod can be deleted but not killed, and its disk goes with it"
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
    /// Id and what it proves, for instance `g01_identical_alerts_make_one_request`.
    pub(crate) name: &'static str,
    /// Parts that it needs whole, beside others that need them whole.
    pub(crate) shares: &'static [Part],
    /// Parts that it breaks or measures, and therefore holds alone.
    pub(crate) alone: &'static [Part],
    /// What the stack file must have; otherwise the scenario is skipped with the reason.
    pub(crate) requires: &'static [Requirement],
    /// Recorded duration on two cores: the longest start first.
    pub(crate) estimate: Duration,
    /// After this it has failed.
    pub(crate) deadline: Duration,
    /// What it does.
    pub(crate) body: Body,
}

impl Scenario {
    /// A scenario that takes about a second and needs nothing.
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

    /// Parts needed whole.
    pub(crate) const fn shares(mut self, parts: &'static [Part]) -> Self {
        self.shares = parts;
        self
    }

    /// Parts held alone.
    pub(crate) const fn alone(mut self, parts: &'static [Part]) -> Self {
        self.alone = parts;
        self
    }

    /// What the stack file must have.
    pub(crate) const fn requires(mut self, requirements: &'static [Requirement]) -> Self {
        self.requires = requirements;
        self
    }

    /// The recorded duration and the deadline, in seconds.
    pub(crate) const fn takes(mut self, estimate: u64, deadline: u64) -> Self {
        self.estimate = Duration::from_secs(estimate);
        self.deadline = Duration::from_secs(deadline);
        self
    }

    /// The name's first word, for instance `g01`.
    pub(crate) fn id(&self) -> &'static str {
        self.name.split('_').next().unwrap_or(self.name)
    }

    /// All parts that it touches.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> {
        self.shares.iter().chain(self.alone).copied()
    }

    /// Why it can't run against this stack, if so.
    pub(crate) fn unmet(&self, stack: &Stack) -> Option<String> {
        self.requires
            .iter()
            .find_map(|requirement| requirement.unmet(stack))
    }
}
