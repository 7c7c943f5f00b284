//! Cells of the built-in kinds' columns.

use serde_json::Value;

use super::{age, duration, shown};
use crate::object::{self, items, text};

pub(super) fn size(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Object(map)) => map.len(),
        Some(Value::Array(list)) => list.len(),
        _ => 0,
    }
}

pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

pub(super) fn or(object: &Value, pointer: &str, absent: &str) -> Value {
    object
        .pointer(pointer)
        .map_or_else(|| absent.to_owned(), shown)
        .into()
}

pub(super) fn flag_text(object: &Value, pointer: &str) -> Value {
    if object.pointer(pointer) == Some(&true.into()) {
        "True".into()
    } else {
        "False".into()
    }
}

pub(super) fn labels(value: Option<&Value>) -> Value {
    let pairs: Vec<String> = object::pairs(value)
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    or_none(&pairs.join(","))
}

pub(super) fn selector(object: &Value) -> Value {
    labels(
        object
            .pointer("/spec/selector/matchLabels")
            .or_else(|| object.pointer("/spec/selector")),
    )
}

pub(super) fn joined<'a>(items: impl Iterator<Item = &'a str>) -> Value {
    items.collect::<Vec<_>>().join(",").into()
}

/// The names of the containers of a pod template.
pub(super) fn containers(object: &Value, template: &str) -> Value {
    let list = items(object, &format!("{template}/spec/containers"));
    joined(list.map(|container| text(container, "/name")))
}

/// The images of the containers of a pod template.
pub(super) fn images(object: &Value, template: &str) -> Value {
    let list = items(object, &format!("{template}/spec/containers"));
    joined(list.map(|container| text(container, "/image")))
}

pub(super) fn ready_of(object: &Value, ready: &str, wanted: &str) -> Value {
    let number = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    format!("{}/{}", number(ready), number(wanted)).into()
}

pub(super) fn pod_ready(object: &Value) -> Value {
    let total = size(object.pointer("/spec/containers"));
    let ready = items(object, "/status/containerStatuses")
        .filter(|status| status["ready"] == true)
        .count();
    format!("{ready}/{total}").into()
}

pub(super) fn pod_status(object: &Value) -> Value {
    if object::is_deleting(object) {
        return "Terminating".into();
    }
    let mut reason = text(object, "/status/phase").to_owned();
    if !text(object, "/status/reason").is_empty() {
        reason = text(object, "/status/reason").to_owned();
    }
    for status in items(object, "/status/containerStatuses") {
        for state in ["/state/waiting/reason", "/state/terminated/reason"] {
            if !text(status, state).is_empty() {
                reason = text(status, state).to_owned();
            }
        }
    }
    reason.into()
}

pub(super) fn pod_restarts(object: &Value) -> Value {
    let counts =
        items(object, "/status/containerStatuses").filter_map(|status| status["restartCount"].as_i64());
    counts.sum::<i64>().to_string().into()
}

pub(super) fn external_address(object: &Value) -> Value {
    let mut addresses: Vec<&str> = object::strings(object.pointer("/spec/externalIPs"));
    for ingress in items(object, "/status/loadBalancer/ingress") {
        addresses.extend(
            [text(ingress, "/ip"), text(ingress, "/hostname")]
                .into_iter()
                .filter(|text| !text.is_empty()),
        );
    }
    match text(object, "/spec/type") {
        "ExternalName" => text(object, "/spec/externalName").into(),
        "LoadBalancer" if addresses.is_empty() => "<pending>".into(),
        _ => or_none(&addresses.join(",")),
    }
}

pub(super) fn service_ports(object: &Value) -> Value {
    let ports: Vec<String> = items(object, "/spec/ports")
        .map(|port| {
            let number = |key: &str| port[key].as_i64().unwrap_or_default();
            let protocol = text(port, "/protocol");
            match number("nodePort") {
                0 => format!("{}/{protocol}", number("port")),
                node => format!("{}:{node}/{protocol}", number("port")),
            }
        })
        .collect();
    or_none(&ports.join(","))
}

pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions").find(|condition| condition["type"] == kind)
}

pub(super) fn holds(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

pub(super) fn job_status(object: &Value) -> Value {
    let states = [
        "Complete",
        "Failed",
        "Suspended",
        "FailureTarget",
        "SuccessCriteriaMet",
    ];
    if object::is_deleting(object) {
        return "Terminating".into();
    }
    let state = states.into_iter().find(|state| holds(object, state));
    state.unwrap_or("Running").into()
}

pub(super) fn job_duration(object: &Value) -> Value {
    let time = |pointer: &str| text(object, pointer).parse::<jiff::Timestamp>().ok();
    match (time("/status/startTime"), time("/status/completionTime")) {
        (None, _) => "".into(),
        (Some(start), Some(end)) => duration(end.as_second() - start.as_second()).into(),
        (Some(start), None) => age(&start.to_string()).into(),
    }
}

pub(super) fn last_seen(object: &Value) -> Value {
    let pointers = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/firstTimestamp",
    ];
    let time = pointers
        .iter()
        .map(|pointer| text(object, pointer))
        .find(|time| !time.is_empty());
    time.map_or_else(|| "<unknown>".to_owned(), age).into()
}

pub(super) fn event_object(object: &Value) -> Value {
    let kind = text(object, "/involvedObject/kind").to_lowercase();
    format!("{kind}/{}", text(object, "/involvedObject/name")).into()
}

pub(super) fn event_source(object: &Value) -> Value {
    let component = text(object, "/source/component");
    let component = if component.is_empty() {
        text(object, "/reportingComponent")
    } else {
        component
    };
    match text(object, "/source/host") {
        "" => component.into(),
        host => format!("{component}, {host}").into(),
    }
}

pub(super) fn node_status(object: &Value) -> Value {
    let mut status = match condition(object, "Ready") {
        Some(_) if holds(object, "Ready") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object.pointer("/spec/unschedulable") == Some(&true.into()) {
        status.push_str(",SchedulingDisabled");
    }
    status.into()
}

pub(super) fn node_roles(object: &Value) -> Value {
    let labels = object::pairs(object.pointer("/metadata/labels"));
    let roles: Vec<&str> = labels
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    or_none(&roles.join(","))
}

pub(super) fn role(object: &Value) -> Value {
    format!(
        "{}/{}",
        text(object, "/roleRef/kind"),
        text(object, "/roleRef/name")
    )
    .into()
}

pub(super) fn subjects(object: &Value, kind: &str) -> Value {
    let names: Vec<String> = items(object, "/subjects")
        .filter(|subject| subject["kind"] == kind)
        .map(|subject| match text(subject, "/namespace") {
            "" => text(subject, "/name").to_owned(),
            namespace => format!("{namespace}/{}", text(subject, "/name")),
        })
        .collect();
    names.join(", ").into()
}

/// The short names of access modes.
pub(super) fn access_modes(modes: Option<&Value>) -> Value {
    let short = |mode: &str| match mode {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        _ => "",
    };
    joined(object::strings(modes).into_iter().map(short))
}
