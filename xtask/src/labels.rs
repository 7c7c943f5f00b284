//! Labels of the objects that a run creates in a shared cluster.

use serde_json::{Value, json};

/// Kubernetes' common label for the creator of an object.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "xtask-e2e");

/// Stack and run of an object.
const STACK: &str = "xtask-e2e/stack";
const RUN: &str = "xtask-e2e/run";

/// Returns the labels of the run's namespace and of its objects outside of it.
pub(crate) fn labels(stack: &str, run: &str) -> Value {
    json!({MANAGED_BY.0: MANAGED_BY.1, STACK: stack, RUN: run})
}

/// Returns the selector of the namespaces of a stack's other runs.
pub(crate) fn others(stack: &str, run: &str) -> String {
    format!("{},{RUN}!={run}", made_by_any(stack))
}

/// Returns the selector of the objects of one run.
pub(crate) fn made_by(stack: &str, run: &str) -> String {
    format!("{},{RUN}={run}", made_by_any(stack))
}

/// Returns the selector of the objects of all runs of a stack.
pub(crate) fn made_by_any(stack: &str) -> String {
    format!("--selector={}={},{STACK}={stack}", MANAGED_BY.0, MANAGED_BY.1)
}
