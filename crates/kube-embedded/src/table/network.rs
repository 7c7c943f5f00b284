//! Cells of endpoints, ingresses and addresses.

use serde_json::Value;

use super::cells::or_none;
use crate::object::{items, text};

/// Entries shown before `+ 2 more...`.
const SHOWN: usize = 3;

/// The first entries, and the number of further ones.
fn shortened(all: &[String], empty: &str) -> Value {
    match all.len() {
        0 => empty.into(),
        count if count > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), count - SHOWN).into(),
        _ => all.join(",").into(),
    }
}

pub(super) fn endpoint_addresses(object: &Value) -> Value {
    if items(object, "/subsets").next().is_none() {
        return "<none>".into();
    }
    let mut all = Vec::new();
    for subset in items(object, "/subsets") {
        let addresses = || items(subset, "/addresses").map(|address| text(address, "/ip"));
        if items(subset, "/ports").next().is_none() {
            all.extend(addresses().map(ToOwned::to_owned));
        }
        for port in items(subset, "/ports") {
            let port = &port["port"];
            all.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{port}"),
                false => format!("{ip}:{port}"),
            }));
        }
    }
    shortened(&all, "")
}

pub(super) fn slice_ports(object: &Value) -> Value {
    let ports = items(object, "/ports").map(|port| match (port.get("port"), port.get("name")) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.as_str().unwrap_or_default().to_owned(),
        (None, None) => "*".to_owned(),
    });
    shortened(&ports.collect::<Vec<_>>(), "<unset>")
}

pub(super) fn slice_endpoints(object: &Value) -> Value {
    let addresses = items(object, "/endpoints").flat_map(|endpoint| items(endpoint, "/addresses"));
    let addresses = addresses.filter_map(Value::as_str).map(ToOwned::to_owned);
    shortened(&addresses.collect::<Vec<_>>(), "<unset>")
}

/// Hosts of an ingress's rules.
pub(super) fn ingress_hosts(object: &Value) -> Value {
    let hosts = items(object, "/spec/rules").map(|rule| text(rule, "/host").to_owned());
    let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).collect();
    shortened(&hosts, "*")
}

pub(super) fn ingress_ports(object: &Value) -> Value {
    match items(object, "/spec/tls").next() {
        Some(_) => "80, 443".into(),
        None => "80".into(),
    }
}

pub(super) fn load_balancer_addresses(object: &Value) -> Value {
    let addresses = items(object, "/status/loadBalancer/ingress").map(|ingress| match text(ingress, "/ip") {
        "" => text(ingress, "/hostname"),
        ip => ip,
    });
    let addresses: Vec<&str> = addresses.filter(|address| !address.is_empty()).collect();
    addresses.join(",").into()
}

/// Kind, group and name of an ingress class's parameters.
pub(super) fn class_parameters(object: &Value) -> Value {
    let Some(parameters) = object.pointer("/spec/parameters") else {
        return "<none>".into();
    };
    let (kind, group, name) = (
        text(parameters, "/kind"),
        text(parameters, "/apiGroup"),
        text(parameters, "/name"),
    );
    match group {
        "" => format!("{kind}/{name}").into(),
        group => format!("{kind}.{group}/{name}").into(),
    }
}

pub(super) fn node_address(object: &Value, kind: &str) -> Value {
    let found = items(object, "/status/addresses").find(|address| address["type"] == kind);
    or_none(found.map(|address| text(address, "/address")).unwrap_or_default())
}
