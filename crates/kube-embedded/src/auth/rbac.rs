//! Decisions by the RBAC objects in the store.

use std::sync::Arc;

use serde_json::Value;

use super::User;
use crate::object::{items, strings, text};
use crate::store::{Entry, Key, Store};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The attributes of a request to authorize.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// `get`, `list`, `create` and so on.
    pub verb: String,
    /// API group of the resource.
    pub group: String,
    /// Plural name.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace; empty for all, or for cluster-scoped resources.
    pub namespace: String,
    /// Name; may be empty.
    pub name: String,
    /// Path of a non-resource request.
    pub path: Option<String>,
}

/// A decision; `reason` names the binding.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Whether the request is allowed.
    pub allowed: bool,
    /// The reason.
    pub reason: String,
}

/// Authorizes a request.
#[must_use]
pub fn authorize(store: &Store, user: &User, wanted: &Attributes) -> Decision {
    if user.groups.iter().any(|group| group == "system:masters") {
        return Decision {
            allowed: true,
            reason: String::new(),
        };
    }
    let mut reason = String::new();
    let allowed = for_each_rule(store, user, &wanted.namespace, &mut |rule, why| {
        let covered = covers(rule, wanted);
        if covered {
            reason = format!("RBAC: allowed by {why}");
        }
        covered
    });
    Decision { allowed, reason }
}

/// Visits the rules that apply to a user until `visit` returns true; returns whether it did.
pub fn for_each_rule(
    store: &Store,
    user: &User,
    namespace: &str,
    visit: &mut dyn FnMut(&Value, &str) -> bool,
) -> bool {
    for binding in all(store, "clusterrolebindings") {
        if visit_binding(store, user, &binding, "ClusterRoleBinding", visit) {
            return true;
        }
    }
    if namespace.is_empty() {
        return false;
    }
    let bindings = all(store, "rolebindings");
    bindings
        .iter()
        .filter(|binding| &*binding.key.namespace == namespace)
        .any(|binding| visit_binding(store, user, binding, "RoleBinding", visit))
}

fn all(store: &Store, plural: &str) -> Vec<Arc<Entry>> {
    store
        .snapshot(&format!("{plural}.{GROUP}"))
        .entries
        .values()
        .cloned()
        .collect()
}

fn visit_binding(
    store: &Store,
    user: &User,
    entry: &Entry,
    kind: &str,
    visit: &mut dyn FnMut(&Value, &str) -> bool,
) -> bool {
    let binding = entry.object();
    let Some(subject) =
        items(&binding, "/subjects").find(|subject| is_subject(subject, user, &entry.key.namespace))
    else {
        return false;
    };
    let (role_kind, role_name) = (text(&binding, "/roleRef/kind"), text(&binding, "/roleRef/name"));
    let (table, namespace) = match role_kind {
        "ClusterRole" => ("clusterroles", ""),
        _ => ("roles", &*entry.key.namespace),
    };
    let Some(role) = store.get(&format!("{table}.{GROUP}"), &Key::new(namespace, role_name)) else {
        return false;
    };
    let scope = match &*entry.key.namespace {
        "" => entry.key.name.to_string(),
        namespace => format!("{}/{namespace}", entry.key.name),
    };
    let why = format!(
        "{kind} \"{scope}\" of {role_kind} \"{role_name}\" to {} \"{}\"",
        text(subject, "/kind"),
        shown(subject)
    );
    let role = role.object();
    items(&role, "/rules").any(|rule| visit(rule, &why))
}

fn shown(subject: &Value) -> String {
    match text(subject, "/namespace") {
        "" => text(subject, "/name").to_owned(),
        namespace => format!("{}/{namespace}", text(subject, "/name")),
    }
}

fn is_subject(subject: &Value, user: &User, namespace: &str) -> bool {
    let name = text(subject, "/name");
    match text(subject, "/kind") {
        "User" => user.name == name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let own = text(subject, "/namespace");
            let namespace = if own.is_empty() { namespace } else { own };
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn covers(rule: &Value, wanted: &Attributes) -> bool {
    let has = |field: &str, value: &str| {
        strings(rule.get(field))
            .iter()
            .any(|item| *item == "*" || *item == value)
    };
    if !has("verbs", &wanted.verb) {
        return false;
    }
    if let Some(path) = &wanted.path {
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => pattern == path,
        };
        return strings(rule.get("nonResourceURLs")).into_iter().any(matches);
    }
    let combined = match wanted.subresource.as_str() {
        "" => wanted.resource.clone(),
        subresource => format!("{}/{subresource}", wanted.resource),
    };
    let any_of_subresource = format!("*/{}", wanted.subresource);
    let resources = strings(rule.get("resources"));
    let of_resource = resources.iter().any(|item| {
        *item == "*" || *item == combined || (!wanted.subresource.is_empty() && *item == any_of_subresource)
    });
    let names = strings(rule.get("resourceNames"));
    has("apiGroups", &wanted.group)
        && of_resource
        && (names.is_empty() || names.contains(&wanted.name.as_str()))
}
