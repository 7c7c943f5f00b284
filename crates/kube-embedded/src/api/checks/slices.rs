//! Endpoint slices: their addresses, and the names of their ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::object::{items, strings, text};
use crate::resources::names::quoted;
use crate::status::Cause;

/// Types of addresses.
const TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];

pub(super) fn check(slice: &Value, causes: &mut Vec<Cause>) {
    let kind = text(slice, "/addressType");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        causes.push(Cause::not_supported(
            "addressType",
            &quoted(kind),
            &TYPES.map(quoted),
        ));
    }
    let ports: Vec<&str> = items(slice, "/ports").map(|port| text(port, "/name")).collect();
    for (index, name) in ports.iter().enumerate() {
        if ports[..index].contains(name) {
            causes.push(Cause::duplicate(format!("ports[{index}].name"), &quoted(name)));
        }
    }
    for (index, endpoint) in items(slice, "/endpoints").enumerate() {
        let field = format!("endpoints[{index}].addresses");
        let addresses = strings(endpoint.get("addresses"));
        if addresses.is_empty() {
            causes.push(Cause::required(&field, "must contain at least 1 address"));
        }
        for (index, address) in addresses.into_iter().enumerate() {
            let detail = match kind {
                "IPv4" if address.parse::<Ipv4Addr>().is_ok() => continue,
                "IPv6" if address.parse::<Ipv6Addr>().is_ok() => continue,
                "IPv4" if address.parse::<Ipv6Addr>().is_ok() => "must be an IPv4 address",
                "IPv6" if address.parse::<Ipv4Addr>().is_ok() => "must be an IPv6 address",
                "IPv4" | "IPv6" => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                _ => continue,
            };
            causes.push(Cause::invalid(
                format!("{field}[{index}]"),
                &quoted(address),
                detail,
            ));
        }
    }
}
