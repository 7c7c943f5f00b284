//! What is particular to a kind: defaults, checks that no schema has, names that it had before.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::object::{self, text};
use crate::resources::{Resource, definition};
use crate::schema::{self, Schema};
use crate::store::NAMESPACES;

/// Defaults of the built-in types, by the name of the type.
static DEFAULTS: LazyLock<BTreeMap<String, Map<String, Value>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../builtin/defaults.json")).unwrap_or_default());

/// Values that Go writes although nobody set them.
static ZEROS: LazyLock<BTreeMap<String, Map<String, Value>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../builtin/zeros.json")).unwrap_or_default());

/// Puts in the defaults, which are the writer's fields as if it had sent them.
pub(super) fn complete(resource: &Resource, object: &mut Value) {
    object::drop_empty_metadata(object);
    let Some(shape) = &resource.schema else { return };
    if resource.custom {
        schema::apply_defaults(shape, object);
        return;
    }
    fill(shape, object, true);
    match &*resource.table {
        NAMESPACES => {
            let name = object::meta(object, "name").to_owned();
            let labels = object::metadata_mut(object)
                .entry("labels")
                .or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
        }
        "secrets" => encode_string_data(object),
        "pods" => {
            object::child_mut(object, "spec")
                .entry("enableServiceLinks")
                .or_insert_with(|| true.into());
        }
        "jobs.batch" => complete_job_spec(object),
        "services" if matches!(text(object, "/spec/type"), "NodePort" | "LoadBalancer") => {
            object::child_mut(object, "spec")
                .entry("externalTrafficPolicy")
                .or_insert_with(|| "Cluster".into());
        }
        "statefulsets.apps" => {
            let claims = object
                .pointer_mut("/spec/volumeClaimTemplates")
                .and_then(Value::as_array_mut);
            for claim in claims.into_iter().flatten() {
                claim["apiVersion"] = "v1".into();
                claim["kind"] = "PersistentVolumeClaim".into();
            }
        }
        "clusterrolebindings.rbac.authorization.k8s.io" | "rolebindings.rbac.authorization.k8s.io" => {
            complete_subjects(object);
        }
        "networkpolicies.networking.k8s.io" => complete_policy(object),
        _ => {}
    }
}

/// Puts in what the server decides, which are nobody's fields. `old` is the object before the write.
pub(super) fn allocate(resource: &Resource, object: &mut Value, old: Option<&Value>) {
    let Some(shape) = resource.schema.as_ref().filter(|_| !resource.custom) else {
        return;
    };
    if let (Some(status), Some(map)) = (
        DEFAULTS
            .get(&shape.node().name)
            .and_then(|defaults| defaults.get("status")),
        object.as_object_mut(),
    ) {
        map.entry("status").or_insert_with(|| status.clone());
    }
    put_zeros(shape, object);
    match &*resource.table {
        NAMESPACES if old.is_none() => {
            object::child_mut(object, "spec").insert("finalizers".into(), json!(["kubernetes"]));
        }
        "services" => complete_service(object, old),
        "pods" if old.is_none() => {
            let class = quality_of_service(object);
            object::child_mut(object, "status").insert("qosClass".into(), class.into());
        }
        "jobs.batch" if old.is_none() => complete_job(object),
        _ => {}
    }
}

/// Defaults by type, from the outside in.
fn fill(shape: &Schema, value: &mut Value, root: bool) {
    match value {
        Value::Object(map) => {
            let name = shape.node().name.as_str();
            drop_empty(shape, map);
            for (key, default) in DEFAULTS
                .get(name)
                .into_iter()
                .flatten()
                .filter(|(key, _)| !root || *key != "status")
            {
                map.entry(key.clone()).or_insert_with(|| default.clone());
            }
            fill_computed(name, map);
            for (key, inner) in map.iter_mut() {
                if let Some(property) = shape.property(key) {
                    fill(&property, inner, false);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = shape.items() {
                list.iter_mut().for_each(|inner| fill(&items, inner, false));
            }
        }
        _ => {}
    }
}

/// Go leaves out maps and lists that are empty, where they need not be there.
fn drop_empty(shape: &Schema, map: &mut Map<String, Value>) {
    map.retain(|key, value| {
        let empty_list = value.as_array().is_some_and(Vec::is_empty);
        let empty_map = value.as_object().is_some_and(Map::is_empty);
        if !(empty_list || empty_map) || shape.node().required.contains(key) {
            return true;
        }
        let free = |property: Schema| {
            property.node().additional != schema::Additional::None && property.node().properties.is_empty()
        };
        !(empty_list || shape.property(key).is_some_and(free))
    });
}

/// Defaults that depend on other fields.
fn fill_computed(name: &str, map: &mut Map<String, Value>) {
    let is_rolling = map.get("type").and_then(Value::as_str) == Some("RollingUpdate");
    match name.rsplit('.').next().unwrap_or_default() {
        "Container" => {
            let image = map.get("image").and_then(Value::as_str).unwrap_or_default();
            let tag = image
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .split_once(':')
                .map_or("latest", |(_, tag)| tag);
            let policy = if tag == "latest" && !image.contains('@') {
                "Always"
            } else {
                "IfNotPresent"
            };
            map.entry("imagePullPolicy").or_insert_with(|| policy.into());
        }
        "ServicePort" => {
            if let Some(port) = map.get("port").cloned() {
                map.entry("targetPort").or_insert(port);
            }
        }
        "DeploymentStrategy" | "StatefulSetUpdateStrategy" | "DaemonSetUpdateStrategy" if is_rolling => {
            map.entry("rollingUpdate").or_insert_with(|| json!({}));
        }
        "PodSpec" => {
            if let Some(account) = map.get("serviceAccountName").cloned() {
                map.entry("serviceAccount").or_insert(account);
            }
        }
        _ => {}
    }
}

fn put_zeros(shape: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, zero) in ZEROS.get(&shape.node().name).into_iter().flatten() {
                map.entry(key.clone()).or_insert_with(|| zero.clone());
            }
            for (key, inner) in map.iter_mut() {
                if let Some(property) = shape.property(key) {
                    put_zeros(&property, inner);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = shape.items() {
                list.iter_mut().for_each(|inner| put_zeros(&items, inner));
            }
        }
        _ => {}
    }
}

/// Defaults of a job's own specification; one in a cron job's template has none.
fn complete_job_spec(object: &mut Value) {
    let spec = object::child_mut(object, "spec");
    for (key, default) in DEFAULTS.get("spec of a Job").into_iter().flatten() {
        spec.entry(key.clone()).or_insert_with(|| default.clone());
    }
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    spec.entry("parallelism").or_insert_with(|| 1.into());
}

fn encode_string_data(object: &mut Value) {
    let Some(plain) = object.as_object_mut().and_then(|map| map.remove("stringData")) else {
        return;
    };
    let data = object::child_mut(object, "data");
    for (key, value) in object::pairs(Some(&plain)) {
        data.insert(key.to_owned(), STANDARD.encode(value).into());
    }
}

/// Gives a service its address: one of its own where that is wanted.
fn complete_service(object: &mut Value, old: Option<&Value>) {
    let kind = text(object, "/spec/type").to_owned();
    let spec = object::child_mut(object, "spec");
    if kind == "ExternalName" {
        for key in ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            spec.remove(key);
        }
        return;
    }
    let before = old
        .map(|old| text(old, "/spec/clusterIP"))
        .filter(|address| !address.is_empty());
    if spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        let address = before.map_or_else(free_address, ToOwned::to_owned);
        spec.insert("clusterIP".into(), address.into());
    }
    let address = spec["clusterIP"].clone();
    spec.insert("clusterIPs".into(), json!([address]));
    spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
    spec.entry("ipFamilyPolicy")
        .or_insert_with(|| "SingleStack".into());
    if !matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        return;
    }
    spec.entry("externalTrafficPolicy")
        .or_insert_with(|| "Cluster".into());
    if kind == "LoadBalancer" {
        spec.entry("allocateLoadBalancerNodePorts")
            .or_insert_with(|| true.into());
    }
    for port in spec
        .get_mut("ports")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        port.entry("nodePort")
            .or_insert_with(|| fastrand::u16(30_000..=32_767).into());
    }
}

/// How well a pod's containers say what they need.
fn quality_of_service(pod: &Value) -> &'static str {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let containers = lists
        .iter()
        .flat_map(|list| pod.pointer(list).and_then(Value::as_array).into_iter().flatten());
    let resources: Vec<&Value> = containers.map(|container| &container["resources"]).collect();
    let says = |resources: &Value, part: &str| resources[part].as_object().is_some_and(|map| !map.is_empty());
    if resources
        .iter()
        .all(|resources| !says(resources, "limits") && !says(resources, "requests"))
    {
        return "BestEffort";
    }
    let fixed = |resources: &&Value| {
        ["cpu", "memory"].iter().all(|name| {
            let limit = &resources["limits"][*name];
            !limit.is_null()
                && (resources["requests"][*name].is_null() || resources["requests"][*name] == *limit)
        })
    };
    if resources.iter().all(fixed) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn free_address() -> String {
    format!("10.96.{}.{}", fastrand::u8(1..255), fastrand::u8(1..255))
}

/// A job selects its pods by a label that it gives them.
fn complete_job(object: &mut Value) {
    if object.pointer("/spec/manualSelector") == Some(&true.into()) {
        return;
    }
    let (uid, name) = (
        object::meta(object, "uid").to_owned(),
        object::meta(object, "name").to_owned(),
    );
    let labels = json!({
        "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name,
        "controller-uid": uid, "job-name": name,
    });
    if let Some(template) = object.pointer_mut("/spec/template") {
        let own = object::metadata_mut(template)
            .entry("labels")
            .or_insert_with(|| json!({}));
        if let (Some(own), Value::Object(labels)) = (own.as_object_mut(), labels) {
            own.extend(labels);
        }
    }
    if object.pointer("/metadata/labels").is_none() {
        let labels = object
            .pointer("/spec/template/metadata/labels")
            .cloned()
            .unwrap_or_default();
        object::metadata_mut(object).insert("labels".into(), labels);
    }
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}

fn complete_subjects(object: &mut Value) {
    for subject in object
        .get_mut("subjects")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if matches!(text(subject, "/kind"), "User" | "Group") && text(subject, "/apiGroup").is_empty() {
            subject["apiGroup"] = "rbac.authorization.k8s.io".into();
        }
    }
}

fn complete_policy(object: &mut Value) {
    let egress = object.pointer("/spec/egress").is_some();
    let types = if egress {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    object::child_mut(object, "spec")
        .entry("policyTypes")
        .or_insert(types);
}

/// Whether objects of a built-in kind count their generations.
pub(super) fn has_generation(resource: &Resource) -> bool {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("apps", plural) => plural != "controllerrevisions",
        ("batch" | "policy" | "networking.k8s.io" | definition::GROUP, _) => true,
        ("", plural) => matches!(plural, "replicationcontrollers" | "pods"),
        _ => false,
    }
}

/// Seconds that an object has from its deletion until it must be gone; 0 is at once. Only pods are given any.
pub(super) fn grace(resource: &Resource, object: &Value, asked: Option<i64>) -> i64 {
    if &*resource.table != "pods" {
        return 0;
    }
    let running = !text(object, "/spec/nodeName").is_empty()
        && !matches!(text(object, "/status/phase"), "Failed" | "Succeeded");
    let own = object
        .pointer("/spec/terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    if running {
        asked.or(own).unwrap_or(30).max(0)
    } else {
        0
    }
}

/// Whether an object that is marked, and held by no finalizer, is gone.
pub(super) fn is_released(resource: &Resource, object: &Value) -> bool {
    match &*resource.table {
        NAMESPACES => object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty),
        "pods" => {
            object
                .pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_i64)
                .unwrap_or_default()
                == 0
        }
        _ => true,
    }
}

/// Whether a deletion is answered with the object, not with a `Status`.
pub(super) fn delete_returns_object(resource: &Resource) -> bool {
    matches!(
        &*resource.table,
        "pods"
            | "services"
            | "serviceaccounts"
            | "persistentvolumeclaims"
            | "persistentvolumes"
            | "podtemplates"
            | "resourcequotas"
            | "replicationcontrollers"
    )
}

/// Marks what has a status of its own while it is being deleted; whether it is such.
pub(super) fn mark_terminating(resource: &Resource, object: &mut Value) -> bool {
    let table = &*resource.table;
    if table != NAMESPACES && table != definition::TABLE {
        return false;
    }
    object::metadata_mut(object)
        .entry("deletionTimestamp")
        .or_insert_with(|| object::now().into());
    if table == NAMESPACES {
        object::child_mut(object, "status").insert("phase".into(), "Terminating".into());
        return true;
    }
    let condition = json!({
        "type": "Terminating", "status": "True", "lastTransitionTime": object::now(),
        "reason": "InstanceDeletionInProgress", "message": "CustomResource deletion is in progress",
    });
    let conditions = object::child_mut(object, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| condition["type"] != "Terminating");
        list.push(condition);
    }
    true
}
