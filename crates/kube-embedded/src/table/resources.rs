//! Cells of volumes, quotas, classes, revisions and autoscalers.

use serde_json::Value;

use super::shown;
use crate::api::split_api_version;
use crate::object::{self, items, text};

pub(super) fn phase(object: &Value) -> Value {
    match object::is_deleting(object) {
        true => "Terminating".into(),
        false => text(object, "/status/phase").into(),
    }
}

pub(super) fn volume_claim(object: &Value) -> Value {
    match object.pointer("/spec/claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")).into(),
        None => "".into(),
    }
}

pub(super) fn class_name(object: &Value) -> Value {
    let annotations = &object["metadata"]["annotations"];
    let is_default = annotations["storageclass.kubernetes.io/is-default-class"] == "true";
    let name = object::meta(object, "name");
    match is_default {
        true => format!("{name} (default)").into(),
        false => name.into(),
    }
}

/// Used and allowed amounts: those of limits, or the others.
pub(super) fn quota(object: &Value, limits: bool) -> Value {
    let allowed = object.pointer("/status/hard").and_then(Value::as_object);
    let names = allowed.into_iter().flatten();
    let shown: Vec<String> = names
        .filter(|(name, _)| name.starts_with("limits") == limits)
        .map(|(name, hard)| {
            let used = object.pointer("/status/used").and_then(|used| used.get(name));
            format!(
                "{name}: {}/{}",
                used.map_or_else(|| "0".to_owned(), shown),
                shown(hard)
            )
        })
        .collect();
    shown.join(", ").into()
}

/// The owner that controls an object.
pub(super) fn controller(object: &Value) -> Value {
    let owner = items(object, "/metadata/ownerReferences").find(|owner| owner["controller"] == true);
    let Some(owner) = owner else {
        return "<none>".into();
    };
    let (group, _) = split_api_version(text(owner, "/apiVersion"));
    let kind = text(owner, "/kind").to_lowercase();
    match group {
        "" => format!("{kind}/{}", text(owner, "/name")).into(),
        group => format!("{kind}.{group}/{}", text(owner, "/name")).into(),
    }
}

pub(super) fn scale_target(object: &Value) -> Value {
    let target = |key: &str| text(object, &format!("/spec/scaleTargetRef/{key}"));
    format!("{}/{}", target("kind"), target("name")).into()
}

/// Current and wanted values of an autoscaler's metrics.
pub(super) fn metrics(object: &Value) -> Value {
    let all: Vec<String> = items(object, "/spec/metrics")
        .enumerate()
        .map(|(index, metric)| {
            let current = object.pointer(&format!("/status/currentMetrics/{index}"));
            metric_of(metric, current)
        })
        .collect();
    match all.len() {
        0 => "<none>".into(),
        count if count > 2 => format!("{} + {} more...", all[..2].join(", "), count - 2).into(),
        _ => all.join(", ").into(),
    }
}

fn metric_of(metric: &Value, current: Option<&Value>) -> String {
    let (source, name) = match text(metric, "/type") {
        "Resource" => ("resource", text(metric, "/resource/name").to_owned()),
        "ContainerResource" => (
            "containerResource",
            text(metric, "/containerResource/name").to_owned(),
        ),
        "Pods" => ("pods", String::new()),
        "Object" => ("object", String::new()),
        "External" => ("external", String::new()),
        _ => return "<unknown type>".to_owned(),
    };
    let value = |key: &str| {
        let current = current.and_then(|current| current.pointer(&format!("/{source}/current/{key}")));
        current.map_or_else(|| "<unknown>".to_owned(), shown)
    };
    let target = &metric[source]["target"];
    let prefix = match name.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    if let Some(wanted) = target.get("averageValue") {
        let average = if prefix.is_empty() && source != "pods" {
            " (avg)"
        } else {
            ""
        };
        return format!("{prefix}{}/{}{average}", value("averageValue"), shown(wanted));
    }
    if let Some(wanted) = target.get("averageUtilization") {
        let current = value("averageUtilization");
        let percent = if current == "<unknown>" { "" } else { "%" };
        return format!("{prefix}{current}{percent}/{wanted}%");
    }
    let wanted = target.get("value").map_or_else(|| "<auto>".to_owned(), shown);
    format!("{prefix}{}/{wanted}", value("value"))
}
