//! Subresources of pods that need no kubelet: eviction, binding, ephemeral containers.

use serde_json::{Value, json};

use super::{Api, Call, Response, decode};
use crate::object::{self, items, text};
use crate::resources::names::quoted;
use crate::status::{About, Cause, Status};
use crate::store::Entry;

/// Table of disruption budgets.
const BUDGETS: &str = "poddisruptionbudgets.policy";
/// Fields that an ephemeral container may not have.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

fn success() -> Response {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Response::value(201, status)
}

/// Checks that a body is about the object of the URL.
fn check_name(call: &Call, body: &Value) -> Result<(), Status> {
    if object::meta(body, "name") == call.name {
        return Ok(());
    }
    let kind = text(body, "/kind");
    Err(Status::bad_request(format!(
        "name in URL does not match name in {kind} object"
    )))
}

impl Api {
    /// Deletes a pod, unless a disruption budget forbids it.
    ///
    /// # Errors
    /// 404; 429 for a budget that allows no disruption.
    pub fn evict(&self, call: &Call) -> Result<Response, Status> {
        let eviction = decode::decode(call)?.object;
        check_name(call, &eviction)?;
        let pod = self
            .store
            .get(&call.resource.table, &call.key())
            .ok_or_else(|| call.not_found())?;
        let options = eviction
            .get("deleteOptions")
            .cloned()
            .unwrap_or_else(|| json!({}));
        let dry_run =
            call.query.dry_run("CreateOptions")? || object::strings(options.get("dryRun")).contains(&"All");
        self.use_budget(call, &pod, dry_run)?;
        let deletion = Call {
            query: super::Query::parse(if dry_run { "dryRun=All" } else { "" }),
            content_type: "application/json".to_owned(),
            body: options.to_string().into(),
            ..Call::internal(&call.resource, &call.namespace, &call.name)
        };
        self.delete(&deletion)?;
        Ok(success())
    }

    /// Takes one disruption from the budget of a pod, if it has one.
    fn use_budget(&self, call: &Call, pod: &Entry, dry_run: bool) -> Result<(), Status> {
        let object = pod.object();
        if pod.deleting || matches!(text(&object, "/status/phase"), "Pending" | "Succeeded" | "Failed") {
            return Ok(());
        }
        let labels = &object["metadata"]["labels"];
        let all = self.store.snapshot(BUDGETS);
        let mut budgets = all.entries.values().filter(|entry| {
            *entry.key.namespace == call.namespace
                && selects(
                    entry.object().pointer("/spec/selector").unwrap_or(&Value::Null),
                    labels,
                )
        });
        let Some(budget) = budgets.next() else {
            return Ok(());
        };
        if budgets.next().is_some() {
            let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::plain(500, "", message));
        }
        let served = self.registry.served();
        let Some(resource) = served.tables().get(BUDGETS).cloned() else {
            return Ok(());
        };
        let mut update = Call::internal(&resource, &call.namespace, &budget.key.name);
        update.subresource = "status".to_owned();
        if dry_run {
            update.query = super::Query::parse("dryRun=All");
        }
        self.modify(&update, false, &|current| {
            let mut changed = current.clone();
            take_disruption(&mut changed, &object)?;
            Ok((changed, Vec::new()))
        })?;
        Ok(())
    }

    /// Assigns the pod that a binding names to a node.
    ///
    /// # Errors
    /// As `bind`.
    pub fn bind_named(&self, call: &Call) -> Result<Response, Status> {
        let binding = decode::decode(call)?.object;
        let served = self.registry.served();
        let pods = served.find("", "v1", "pods").ok_or_else(Status::no_resource)?;
        self.bind(&Call {
            subresource: "binding".to_owned(),
            query: call.query.clone(),
            content_type: call.content_type.clone(),
            body: call.body.clone(),
            agent: call.agent.clone(),
            ..Call::internal(pods, &call.namespace, object::meta(&binding, "name"))
        })
    }

    /// Assigns a pod to a node.
    ///
    /// # Errors
    /// 404; 409 for a pod that is assigned or being deleted.
    pub fn bind(&self, call: &Call) -> Result<Response, Status> {
        let binding = decode::decode(call)?.object;
        check_name(call, &binding)?;
        let (kind, node) = (text(&binding, "/target/kind"), text(&binding, "/target/name"));
        if !matches!(kind, "" | "Node") {
            let message = format!(
                "target.kind: Unsupported value: {}: supported values: \"Node\", \"<empty>\"",
                quoted(kind)
            );
            return Err(Status::plain(500, "", message));
        }
        if node.is_empty() {
            return Err(Status::plain(500, "", "target.name: Required value"));
        }
        let about = About {
            group: "",
            plural: "pods/binding",
            kind: "Pod",
        };
        self.modify(call, true, &|current| {
            let conflict = |why: &str| {
                Err(Status::conflict(
                    about,
                    &call.name,
                    &format!("pod {} {why}", call.name),
                ))
            };
            if object::is_deleting(current) {
                return conflict("is being deleted, cannot be assigned to a host");
            }
            match text(current, "/spec/nodeName") {
                "" => {}
                assigned => return conflict(&format!("is already assigned to node {}", quoted(assigned))),
            }
            let mut pod = current.clone();
            for key in ["uid", "resourceVersion"] {
                if !object::meta(&binding, key).is_empty() {
                    pod["metadata"][key] = binding["metadata"][key].clone();
                }
            }
            assign(&mut pod, node, &binding);
            Ok((pod, Vec::new()))
        })?;
        Ok(success())
    }
}

/// Sets the node, the annotations of the binding, and the condition.
fn assign(pod: &mut Value, node: &str, binding: &Value) {
    pod["spec"]["nodeName"] = node.into();
    let annotations = binding.pointer("/metadata/annotations");
    for (key, value) in object::pairs(annotations) {
        pod["metadata"]["annotations"][key] = value.into();
    }
    let status = object::child_mut(pod, "status");
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition["type"] != "PodScheduled");
        list.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": object::now(),
        }));
    }
}

/// Whether a label selector selects labels. An empty one selects all, a null none.
fn selects(selector: &Value, labels: &Value) -> bool {
    let value = |key: &str| labels.get(key).and_then(Value::as_str);
    let meets = |requirement: &Value| {
        let value = value(text(requirement, "/key"));
        let values = object::strings(requirement.get("values"));
        match text(requirement, "/operator") {
            "In" => value.is_some_and(|value| values.contains(&value)),
            "NotIn" => value.is_none_or(|value| !values.contains(&value)),
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    };
    selector.is_object()
        && object::pairs(selector.get("matchLabels")).all(|(key, wanted)| value(key) == Some(wanted))
        && items(selector, "/matchExpressions").all(meets)
}

/// Takes one disruption from a budget.
fn take_disruption(budget: &mut Value, pod: &Value) -> Result<(), Status> {
    let name = object::meta(budget, "name").to_owned();
    let number = |pointer: &str| {
        budget
            .pointer(pointer)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let rejected = |message: String, retry: Option<u64>| {
        let text = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut status = Status::plain(429, "TooManyRequests", text).cause(Cause {
            reason: "DisruptionBudget",
            message,
            field: String::new(),
        });
        if let Some(details) = &mut status.details {
            details.retry_after_seconds = retry;
        }
        Err(status)
    };
    let (healthy, desired) = (number("/status/currentHealthy"), number("/status/desiredHealthy"));
    let is_ready =
        items(pod, "/status/conditions").any(|one| one["type"] == "Ready" && one["status"] == "True");
    let always = text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    if !is_ready && (always || (healthy >= desired && desired > 0)) {
        return Ok(());
    }
    if number("/status/observedGeneration") < number("/metadata/generation") {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        return rejected(message, Some(10));
    }
    let allowed = number("/status/disruptionsAllowed");
    if allowed <= 0 {
        let message =
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently");
        return rejected(message, None);
    }
    let status = object::child_mut(budget, "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    disrupted[object::meta(pod, "name")] = object::now().into();
    Ok(())
}

/// Restores all of a pod but its ephemeral containers.
pub(super) fn replace_ephemeral(current: &Value, object: &mut Value) {
    let written = std::mem::take(object);
    *object = current.clone();
    let spec = object::child_mut(object, "spec");
    spec.remove("ephemeralContainers");
    let list = written.pointer("/spec/ephemeralContainers").cloned();
    spec.extend(list.map(|list| ("ephemeralContainers".to_owned(), list)));
    if let Some(managed) = written.pointer("/metadata/managedFields") {
        object["metadata"]["managedFields"] = managed.clone();
    }
    for key in ["resourceVersion", "uid"] {
        object["metadata"][key] = current["metadata"][key].clone();
    }
}

/// Checks ephemeral containers: they can be added, and neither changed nor removed.
pub(super) fn check_ephemeral(pod: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    const LIST: &str = "/spec/ephemeralContainers";
    let field = "spec.ephemeralContainers";
    let others = || {
        let lists = ["/spec/containers", "/spec/initContainers"];
        lists.into_iter().flat_map(|list| items(pod, list))
    };
    let all: Vec<&Value> = items(pod, LIST).collect();
    for (index, container) in all.iter().enumerate() {
        let at = |key: &str| format!("{field}[{index}].{key}");
        let (name, target) = (text(container, "/name"), text(container, "/targetContainerName"));
        for key in ["name", "image"] {
            if container[key].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(at(key), ""));
            }
        }
        if others()
            .chain(all[..index].iter().copied())
            .any(|other| other["name"] == name)
        {
            causes.push(Cause::duplicate(at("name"), &quoted(name)));
        }
        if !target.is_empty() && !others().any(|other| other["name"] == target) {
            causes.push(Cause {
                reason: "FieldValueNotFound",
                message: format!("Not found: {}", quoted(target)),
                field: at("targetContainerName"),
            });
        }
        for key in NOT_EPHEMERAL {
            if container.get(*key).is_some_and(|value| *value != json!({})) {
                causes.push(Cause::forbidden(
                    at(key),
                    "cannot be set for an Ephemeral Container",
                ));
            }
        }
    }
    for before in old.into_iter().flat_map(|old| items(old, LIST)) {
        let name = quoted(text(before, "/name"));
        let what = match all.iter().find(|container| container["name"] == before["name"]) {
            Some(container) if *container == before => continue,
            Some(_) => "changed",
            None => "removed",
        };
        let detail = format!("existing ephemeral containers {name} may not be {what}\n");
        causes.push(Cause::forbidden(field, &detail));
    }
}
