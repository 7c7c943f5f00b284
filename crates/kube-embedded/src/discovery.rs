//! Discovery: one aggregated document, or one per group in the older form.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::resources::{Resource, Served, group_version};

/// Content type of the aggregated document.
pub const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Whether a value is the aggregated document.
#[must_use]
pub fn is_aggregated(value: &Value) -> bool {
    value["kind"] == "APIGroupDiscoveryList"
}

fn wants_aggregated(accept: &str) -> bool {
    accept.split(',').any(|option| {
        option.contains("g=apidiscovery.k8s.io") && option.contains("v=v2;") || option.trim() == AGGREGATED
    })
}

/// `/api`.
#[must_use]
pub fn legacy(served: &Served, accept: &str, address: SocketAddr) -> Option<Value> {
    if wants_aggregated(accept) {
        return Some(aggregated(served, true));
    }
    Some(json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address.to_string()}],
    }))
}

/// `/apis`.
#[must_use]
pub fn groups(served: &Served, accept: &str) -> Option<Value> {
    if wants_aggregated(accept) {
        return Some(aggregated(served, false));
    }
    let groups = served.groups();
    let groups = groups
        .keys()
        .filter(|group| !group.is_empty())
        .filter_map(|name| group(served, name));
    let groups = groups.map(|mut group| {
        if let Some(map) = group.as_object_mut() {
            map.remove("kind");
            map.remove("apiVersion");
        }
        group
    });
    Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()}))
}

/// `/apis/GROUP`.
#[must_use]
pub fn group(served: &Served, name: &str) -> Option<Value> {
    let groups = served.groups();
    let versions = groups.get(name).filter(|_| !name.is_empty())?;
    let shown = |version: &str| json!({"groupVersion": group_version(name, version), "version": version});
    let all: Vec<Value> = versions.iter().map(|(version, _)| shown(version)).collect();
    Some(
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": all, "preferredVersion": all.first()}),
    )
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
#[must_use]
pub fn version(served: &Served, group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in served
        .all()
        .filter(|resource| resource.group == group && resource.version == version)
    {
        let mut entry = json!({
            "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
            "kind": resource.kind, "verbs": resource.verbs,
        });
        if !resource.short_names.is_empty() {
            entry["shortNames"] = json!(resource.short_names);
        }
        if !resource.categories.is_empty() {
            entry["categories"] = json!(resource.categories);
        }
        list.push(entry);
        for part in &resource.subresources {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, part.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": part.kind, "verbs": part.verbs,
            });
            if !part.version.is_empty() {
                entry["group"] = json!(part.group);
                entry["version"] = json!(part.version);
            }
            list.push(entry);
        }
    }
    if list.is_empty() {
        return None;
    }
    let name = group_version(group, version);
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": list}))
}

fn aggregated(served: &Served, core: bool) -> Value {
    let groups = served.groups();
    let items = groups
        .iter()
        .filter(|(name, _)| name.is_empty() == core)
        .map(|(name, versions)| {
            let versions = versions.iter().map(|(version, resources)| {
                let resources: Vec<Value> = resources
                    .iter()
                    .map(|resource| aggregated_resource(resource))
                    .collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            });
            let mut metadata = json!({"creationTimestamp": null});
            if !name.is_empty() {
                metadata["name"] = json!(name);
            }
            json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
        });
    let items: Vec<Value> = items.collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let (group, version) = (&resource.group, &resource.version);
    let mut entry = json!({
        "resource": resource.plural, "singularResource": resource.singular, "verbs": resource.verbs,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": {"group": group, "version": version, "kind": resource.kind},
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let parts = resource.subresources.iter().map(|part| {
            let (group, version) = if part.version.is_empty() {
                (group, version)
            } else {
                (&part.group, &part.version)
            };
            let kind = json!({"group": group, "version": version, "kind": part.kind});
            json!({"subresource": part.name, "responseKind": kind, "verbs": part.verbs})
        });
        entry["subresources"] = parts.collect();
    }
    entry
}

/// `/version`: the version of the real server that this one follows.
#[must_use]
pub fn server_version() -> Value {
    json!({
        "major": "1", "minor": "33", "gitVersion": concat!("v1.33.0+kube-embedded.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none",
        "compiler": "rustc", "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
    })
}

/// Go's name of this machine's architecture, which clients compare with theirs.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/`.
#[must_use]
pub fn paths(served: &Served) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in served.groups().iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|(version, _)| format!("/apis/{group}/{version}")),
        );
    }
    paths.extend(
        [
            "/faults",
            "/healthz",
            "/livez",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        .map(ToOwned::to_owned),
    );
    json!({"paths": paths})
}
