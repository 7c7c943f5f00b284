//! Addresses and ports of services: unique in the cluster, and kept by updates.

use std::collections::BTreeSet;
use std::net::IpAddr;

use parking_lot::MutexGuard;
use serde_json::{Map, Value, json};

use crate::api::{Api, Call};
use crate::object::{self, items, items_mut, text};
use crate::resources::names::quoted;
use crate::status::{Cause, Status};

/// Table of services.
const TABLE: &str = "services";
/// Ports that services have on nodes.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// Addresses and ports in use.
#[derive(Default)]
struct Used {
    addresses: BTreeSet<String>,
    ports: BTreeSet<u16>,
    /// Ports of the service itself with their protocols, which may share a number.
    own: BTreeSet<(u16, String)>,
}

/// Sets the defaults that belong to the writer.
pub(super) fn complete(service: &mut Value) {
    if has_node_ports(service) {
        object::child_mut(service, "spec")
            .entry("externalTrafficPolicy")
            .or_insert_with(|| "Cluster".into());
    }
}

fn has_node_ports(service: &Value) -> bool {
    matches!(text(service, "/spec/type"), "NodePort" | "LoadBalancer")
}

impl Api {
    /// Excludes other writes of services, so that what is allocated is still free when it is stored.
    pub(in crate::api) fn lock_services(&self, call: &Call) -> Option<MutexGuard<'_, ()>> {
        (&*call.resource.table == TABLE).then(|| self.services.lock())
    }

    /// Gives a service the addresses and ports that it needs; nothing for other kinds.
    ///
    /// # Errors
    /// 422 for an address or a port that is in use, or not in the range.
    pub(in crate::api) fn allocate_service(
        &self,
        call: &Call,
        service: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if &*call.resource.table != TABLE || call.subresource == "status" {
            return Ok(());
        }
        let mut used = self.used(call);
        let allocated = drop_other_types(service, old)
            .and_then(|()| allocate_address(service, old, &used))
            .and_then(|()| allocate_ports(service, old, &mut used));
        allocated.map_err(|cause| Status::invalid("", "Service", object::meta(service, "name"), vec![cause]))
    }

    /// What other services use.
    fn used(&self, call: &Call) -> Used {
        let mut used = Used::default();
        for entry in self.store.snapshot(TABLE).entries.values() {
            if entry.key == call.key() && !call.name.is_empty() {
                continue;
            }
            let field = |label: &str| entry.fields.iter().find(|(name, _)| &**name == label);
            used.addresses
                .extend(field("spec.clusterIP").map(|(_, address)| address.to_string()));
            if field("spec.type").is_some_and(|(_, kind)| matches!(&**kind, "NodePort" | "LoadBalancer")) {
                used.ports
                    .extend(node_ports(&entry.object()).into_iter().map(|(port, _)| port));
            }
        }
        used
    }
}

fn node_ports(service: &Value) -> Vec<(u16, String)> {
    let ports = items(service, "/spec/ports").filter_map(|port| {
        let number = u16::try_from(port["nodePort"].as_u64()?).ok()?;
        Some((number, text(port, "/protocol").to_owned()))
    });
    let check = service
        .pointer("/spec/healthCheckNodePort")
        .and_then(Value::as_u64);
    let check = check.and_then(|port| u16::try_from(port).ok());
    ports.chain(check.map(|port| (port, "TCP".to_owned()))).collect()
}

/// Drops what the type before the change had and the new one has not.
fn drop_other_types(service: &mut Value, old: Option<&Value>) -> Result<(), Cause> {
    let kind = text(service, "/spec/type").to_owned();
    let spec = object::child_mut(service, "spec");
    if kind == "ExternalName" {
        for key in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            spec.remove(key);
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        return Ok(());
    }
    let had = old.is_some_and(has_node_ports);
    if had {
        for key in [
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "allocateLoadBalancerNodePorts",
        ] {
            spec.remove(key);
        }
    }
    for (index, port) in items_mut(service, "/spec/ports").enumerate() {
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        if port.get("nodePort").and_then(Value::as_u64).unwrap_or_default() == 0 {
            continue;
        }
        if !had {
            let detail = format!("may not be used when `type` is '{kind}'");
            return Err(Cause::forbidden(format!("spec.ports[{index}].nodePort"), &detail));
        }
        port.remove("nodePort");
    }
    Ok(())
}

/// Gives a service a cluster address where it needs one.
fn allocate_address(service: &mut Value, old: Option<&Value>, used: &Used) -> Result<(), Cause> {
    if text(service, "/spec/type") == "ExternalName" {
        return Ok(());
    }
    let has_selector = service.pointer("/spec/selector").is_some();
    let before = old.map(|old| text(old, "/spec/clusterIP")).unwrap_or_default();
    let spec = object::child_mut(service, "spec");
    let sent = match spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default() {
        "" => spec
            .get("clusterIPs")
            .map(|list| text(list, "/0"))
            .unwrap_or_default(),
        address => address,
    }
    .to_owned();
    let address = match (sent.as_str(), before) {
        ("", "") => free_address(used).ok_or_else(|| exhausted("spec.clusterIPs"))?,
        ("", before) => before.to_owned(),
        _ => sent,
    };
    if address != before {
        check_address(&address, before, used)?;
    }
    spec.insert("clusterIP".into(), address.as_str().into());
    spec.insert("clusterIPs".into(), json!([address]));
    let (families, policy) = match address == "None" && !has_selector {
        true => (json!(["IPv4", "IPv6"]), "RequireDualStack"),
        false => (json!(["IPv4"]), "SingleStack"),
    };
    spec.entry("ipFamilies").or_insert(families);
    spec.entry("ipFamilyPolicy").or_insert_with(|| policy.into());
    Ok(())
}

fn check_address(address: &str, before: &str, used: &Used) -> Result<(), Cause> {
    let shown = format!("[]string{{{}}}", quoted(address));
    if !before.is_empty() {
        return Err(Cause::invalid(
            "spec.clusterIPs[0]",
            &shown,
            "may not change once set",
        ));
    }
    if address == "None" {
        return Ok(());
    }
    let Ok(parsed) = address.parse::<IpAddr>() else {
        let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return Err(Cause::invalid("spec.clusterIPs[0]", &quoted(address), detail));
    };
    let in_range = matches!(parsed, IpAddr::V4(address) if address.octets()[..2] == [10, 96]);
    let why = match (in_range, used.addresses.contains(address)) {
        (false, _) => "the provided network does not match the current range",
        (true, true) => "provided IP is already allocated",
        (true, false) => return Ok(()),
    };
    let detail = format!("failed to allocate IP {address}: {why}");
    Err(Cause::invalid("spec.clusterIPs", &shown, &detail))
}

fn exhausted(field: &str) -> Cause {
    Cause::invalid(field, "null", "failed to allocate: range is full")
}

/// A random free address: the first ones of the range are kept for services that name theirs.
fn free_address(used: &Used) -> Option<String> {
    let start = fastrand::u16(..);
    let all = (0..=u16::MAX).map(|offset| start.wrapping_add(offset).to_be_bytes());
    all.filter(|[high, low]| (*high, *low) > (1, 0) && (*high, *low) < (255, 255))
        .map(|[high, low]| format!("10.96.{high}.{low}"))
        .find(|address| !used.addresses.contains(address))
}

/// Gives a service's ports numbers on the nodes where they need some.
fn allocate_ports(service: &mut Value, old: Option<&Value>, used: &mut Used) -> Result<(), Cause> {
    if !has_node_ports(service) {
        return Ok(());
    }
    let needs_check = text(service, "/spec/type") == "LoadBalancer"
        && text(service, "/spec/externalTrafficPolicy") == "Local";
    let spec = object::child_mut(service, "spec");
    if spec["type"] == "LoadBalancer" {
        spec.entry("allocateLoadBalancerNodePorts")
            .or_insert_with(|| true.into());
    }
    let before: BTreeSet<_> = old.map(node_ports).into_iter().flatten().collect();
    for (index, port) in items_mut(service, "/spec/ports").enumerate() {
        let field = format!("spec.ports[{index}].nodePort");
        let Some(port) = port.as_object_mut() else {
            continue;
        };
        set_port(port, &field, old, &before, used)?;
    }
    if needs_check && service.pointer("/spec/healthCheckNodePort").is_none() {
        let kept = old
            .and_then(|old| old.pointer("/spec/healthCheckNodePort"))
            .cloned();
        let port = match kept {
            Some(port) => port,
            None => free_port(used)
                .ok_or_else(|| exhausted("spec.healthCheckNodePort"))?
                .into(),
        };
        service["spec"]["healthCheckNodePort"] = port;
    }
    Ok(())
}

fn set_port(
    port: &mut Map<String, Value>,
    field: &str,
    old: Option<&Value>,
    before: &BTreeSet<(u16, String)>,
    used: &mut Used,
) -> Result<(), Cause> {
    let protocol = port
        .get("protocol")
        .and_then(Value::as_str)
        .unwrap_or("TCP")
        .to_owned();
    let mut wanted = port.get("nodePort").and_then(Value::as_u64).unwrap_or_default();
    if wanted == 0 {
        let same =
            |other: &&Value| other.get("port") == port.get("port") && text(other, "/protocol") == protocol;
        let kept = old.and_then(|old| items(old, "/spec/ports").find(same));
        wanted = kept
            .and_then(|kept| kept["nodePort"].as_u64())
            .unwrap_or_default();
    }
    let number = match u16::try_from(wanted) {
        Ok(0) => free_port(used).ok_or_else(|| exhausted(field))?,
        Ok(number) if NODE_PORTS.contains(&number) || before.contains(&(number, protocol.clone())) => number,
        _ => {
            let (low, high) = (NODE_PORTS.start(), NODE_PORTS.end());
            let detail =
                format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
            return Err(Cause::invalid(field, &wanted.to_string(), &detail));
        }
    };
    if used.ports.contains(&number) || !used.own.insert((number, protocol)) {
        return Err(Cause::invalid(
            field,
            &number.to_string(),
            "provided port is already allocated",
        ));
    }
    port.insert("nodePort".into(), number.into());
    Ok(())
}

/// A random free port.
fn free_port(used: &Used) -> Option<u16> {
    let start = fastrand::u16(NODE_PORTS);
    let own: BTreeSet<u16> = used.own.iter().map(|(port, _)| *port).collect();
    let mut all = (start..=*NODE_PORTS.end()).chain(*NODE_PORTS.start()..start);
    all.find(|port| !used.ports.contains(port) && !own.contains(port))
}
