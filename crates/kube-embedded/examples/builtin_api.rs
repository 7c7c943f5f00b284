//! Generates `src/builtin/api.json`: the built-in resources and the shapes of their objects, as a real API server
//! describes them in its discovery and OpenAPI documents, without descriptions.
//!
//! ```sh
//! cargo run -p kube-embedded --example builtin_api -- KUBECONFIG > crates/kube-embedded/src/builtin/api.json
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

/// The served resources, by group and version. Any other is not found, as on a server on which its API is
/// disabled.
const SERVED: &[(&str, &[&str])] = &[
    (
        "api/v1",
        &[
            "bindings",
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "nodes",
            "persistentvolumeclaims",
            "persistentvolumes",
            "pods",
            "podtemplates",
            "replicationcontrollers",
            "resourcequotas",
            "secrets",
            "serviceaccounts",
            "services",
        ],
    ),
    (
        "apis/apps/v1",
        &[
            "controllerrevisions",
            "daemonsets",
            "deployments",
            "replicasets",
            "statefulsets",
        ],
    ),
    ("apis/batch/v1", &["cronjobs", "jobs"]),
    ("apis/autoscaling/v2", &["horizontalpodautoscalers"]),
    ("apis/coordination.k8s.io/v1", &["leases"]),
    ("apis/discovery.k8s.io/v1", &["endpointslices"]),
    ("apis/events.k8s.io/v1", &["events"]),
    (
        "apis/networking.k8s.io/v1",
        &["ingressclasses", "ingresses", "networkpolicies"],
    ),
    ("apis/policy/v1", &["poddisruptionbudgets"]),
    (
        "apis/rbac.authorization.k8s.io/v1",
        &["clusterrolebindings", "clusterroles", "rolebindings", "roles"],
    ),
    ("apis/scheduling.k8s.io/v1", &["priorityclasses"]),
    ("apis/storage.k8s.io/v1", &["storageclasses"]),
    ("apis/apiextensions.k8s.io/v1", &["customresourcedefinitions"]),
    (
        "apis/authentication.k8s.io/v1",
        &["selfsubjectreviews", "tokenreviews"],
    ),
    (
        "apis/authorization.k8s.io/v1",
        &[
            "localsubjectaccessreviews",
            "selfsubjectaccessreviews",
            "selfsubjectrulesreviews",
            "subjectaccessreviews",
        ],
    ),
];

fn main() -> Result<()> {
    let kubeconfig = std::env::args().nth(1).context("usage: builtin_api KUBECONFIG")?;
    let mut groups = Vec::new();
    let mut schemas = BTreeMap::new();
    for (path, names) in SERVED {
        let listed = get(&kubeconfig, &format!("/{path}"))?;
        let document = get(&kubeconfig, &format!("/openapi/v3/{path}"))?;
        groups.push(group(path, names, &listed, &document)?);
        let all = document["components"]["schemas"]
            .as_object()
            .context("no schemas")?;
        for entry in document_roots(groups.last()) {
            collect(&entry, all, &mut schemas)?;
        }
        for extra in ["v1.Status", "v1.DeleteOptions"] {
            collect(
                &format!("io.k8s.apimachinery.pkg.apis.meta.{extra}"),
                all,
                &mut schemas,
            )?;
        }
    }
    let document = json!({ "groups": groups, "schemas": schemas });
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &document)?;
    writeln!(out)?;
    Ok(())
}

fn get(kubeconfig: &str, path: &str) -> Result<Value> {
    let output = Command::new("kubectl")
        .args(["--kubeconfig", kubeconfig, "get", "--raw", path])
        .output()?;
    ensure!(
        output.status.success(),
        "GET {path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).with_context(|| format!("GET {path} is not JSON"))
}

fn group(path: &str, names: &[&str], listed: &Value, document: &Value) -> Result<Value> {
    let (name, version) = path
        .strip_prefix("apis/")
        .and_then(|rest| rest.split_once('/'))
        .unwrap_or(("", "v1"));
    let mut resources = Vec::new();
    for resource in listed["resources"].as_array().context("no resources")? {
        let full = resource["name"].as_str().context("a resource without a name")?;
        let base = full.split('/').next().unwrap_or(full);
        if !names.contains(&base) {
            continue;
        }
        let mut resource = resource
            .as_object()
            .context("a resource that is not an object")?
            .clone();
        resource.remove("storageVersionHash");
        let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
        let group = resource
            .get("group")
            .and_then(Value::as_str)
            .unwrap_or(name)
            .to_owned();
        if let Some(schema) = schema_of(document, &group, &kind) {
            resource.insert("schema".to_owned(), json!(schema));
        }
        resources.push(Value::Object(resource));
    }
    Ok(json!({ "group": name, "version": version, "resources": resources }))
}

fn schema_of(document: &Value, group: &str, kind: &str) -> Option<String> {
    let schemas = document["components"]["schemas"].as_object()?;
    schemas.iter().find_map(|(name, schema)| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array()?;
        let found = kinds.len() == 1 && kinds[0]["group"] == group && kinds[0]["kind"] == kind;
        found.then(|| name.clone())
    })
}

fn document_roots(group: Option<&Value>) -> Vec<String> {
    let resources = group.and_then(|group| group["resources"].as_array());
    let names = resources
        .into_iter()
        .flatten()
        .filter_map(|resource| resource["schema"].as_str());
    names.map(ToOwned::to_owned).collect()
}

/// Collects the schema and every schema that it refers to.
fn collect(name: &str, all: &Map<String, Value>, into: &mut BTreeMap<String, Value>) -> Result<()> {
    if into.contains_key(name) {
        return Ok(());
    }
    let mut schema = all
        .get(name)
        .with_context(|| format!("no schema {name}"))?
        .clone();
    let mut references = Vec::new();
    strip(&mut schema, true, &mut references);
    into.insert(name.to_owned(), schema);
    references
        .iter()
        .try_for_each(|reference| collect(reference, all, into))
}

/// Removes descriptions and shortens `allOf: [{$ref}]` to `$ref`. `schema` distinguishes a schema from a map of
/// schemas, in which "description" is a property name.
fn strip(value: &mut Value, schema: bool, references: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    if !schema {
        map.values_mut().for_each(|inner| strip(inner, true, references));
        return;
    }
    map.remove("description");
    if let Some(Value::Array(mut all)) = map.remove("allOf")
        && let Some(Value::Object(only)) = all.pop()
    {
        map.extend(only);
    }
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.trim_start_matches("#/components/schemas/").to_owned();
        references.push(reference.clone());
    }
    for (key, inner) in map.iter_mut() {
        strip(inner, key != "properties", references);
    }
}
