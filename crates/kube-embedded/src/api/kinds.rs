//! Behaviour of individual kinds that no schema expresses.

mod allocation;
mod defaults;
mod deletion;
mod services;

pub(super) use allocation::allocate;
pub(super) use defaults::complete;
pub(super) use deletion::{delete_returns_object, grace, is_released, mark_terminating};

use crate::resources::{Resource, definition};

/// Whether objects of a built-in kind have a generation.
pub(super) fn has_generation(resource: &Resource) -> bool {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("apps", plural) => plural != "controllerrevisions",
        ("batch" | "policy" | "networking.k8s.io" | "discovery.k8s.io" | "scheduling.k8s.io", _) => true,
        (definition::GROUP, _) => true,
        ("", plural) => matches!(plural, "replicationcontrollers" | "pods" | "podtemplates"),
        _ => false,
    }
}
