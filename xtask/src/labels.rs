//! The labels by which it is known again what a run made in a cluster that others use too.

use serde_json::{Value, json};

/// Who made an object, as Kubernetes' tools show it.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "xtask-e2e");

/// Which stack and run an object belongs to.
const STACK: &str = "xtask-e2e/stack";
const RUN: &str = "xtask-e2e/run";

/// The labels of the run's namespace, and of what it makes outside of it.
pub(crate) fn labels(stack: &str, run: &str) -> Value {
    json!({MANAGED_BY.0: MANAGED_BY.1, STACK: stack, RUN: run})
}

/// Selects the namespaces of a stack's other runs.
pub(crate) fn others(stack: &str, run: &str) -> String {
    format!("{},{RUN}!={run}", made_by_any(stack))
}

/// Selects what one run made.
pub(crate) fn made_by(stack: &str, run: &str) -> String {
    format!("{},{RUN}={run}", made_by_any(stack))
}

/// Selects what runs of a stack made, whichever run it was.
pub(crate) fn made_by_any(stack: &str) -> String {
    format!("--selector={}={},{STACK}={stack}", MANAGED_BY.0, MANAGED_BY.1)
}
