//! Columns of the built-in kinds.

use serde_json::{Value, json};

use super::cells::{
    access_modes, containers, event_message, event_object, event_source, external_address, flag_text, images,
    job_duration, job_status, labels, last_seen, node_roles, node_status, or_na, or_none, pod_ready,
    pod_restarts, pod_status, ready_of, role, selector, service_ports, size, subjects,
};
use super::{age, definition};
use crate::object::text;

/// The content of a cell.
enum Cell {
    /// The string at a pointer; `<none>` when absent.
    Text(&'static str),
    /// The string at a pointer; empty when absent.
    Bare(&'static str),
    /// The labels at a pointer.
    Labels(&'static str),
    /// The number at a pointer; 0 when absent.
    Number(&'static str),
    /// The boolean at a pointer.
    Flag(&'static str),
    /// The time since the timestamp at a pointer.
    Age(&'static str),
    /// The number of items at these pointers.
    Count(&'static [&'static str]),
    /// A computed value.
    Made(fn(&Value) -> Value),
}

struct Printer {
    table: &'static str,
    columns: &'static [Column],
}

/// A column; its descriptions are those of the real server.
struct Column {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    /// 0 is always shown, 1 only with `--output wide`.
    priority: i64,
    cell: Cell,
}

const fn column(name: &'static str, cell: Cell) -> Column {
    typed(name, "string", cell)
}

const fn wide(name: &'static str, cell: Cell) -> Column {
    Column {
        priority: 1,
        ..typed(name, "string", cell)
    }
}

const fn typed(name: &'static str, kind: &'static str, cell: Cell) -> Column {
    Column {
        name,
        kind,
        format: "",
        priority: 0,
        cell,
    }
}

use Cell::{Age, Bare, Count, Flag, Labels, Made, Number, Text};

const NAME: Column = Column {
    format: "name",
    ..column("Name", Text("/metadata/name"))
};
const AGE: Column = column("Age", Age("/metadata/creationTimestamp"));

/// The column of kinds without columns of their own.
const PLAIN: Printer = Printer {
    table: "",
    columns: &[
        NAME,
        typed("Created At", "date", Text("/metadata/creationTimestamp")),
    ],
};

/// The columns of role bindings, namespaced or not.
const BINDING: &[Column] = &[
    NAME,
    column("Role", Made(role)),
    AGE,
    wide("Users", Made(|object| subjects(object, "User"))),
    wide("Groups", Made(|object| subjects(object, "Group"))),
    wide(
        "ServiceAccounts",
        Made(|object| subjects(object, "ServiceAccount")),
    ),
];

const PRINTERS: &[Printer] = &[
    Printer {
        table: "namespaces",
        columns: &[NAME, column("Status", Text("/status/phase")), AGE],
    },
    Printer {
        table: "configmaps",
        columns: &[NAME, column("Data", Count(&["/data", "/binaryData"])), AGE],
    },
    Printer {
        table: "secrets",
        columns: &[
            NAME,
            column("Type", Text("/type")),
            column("Data", Count(&["/data"])),
            AGE,
        ],
    },
    Printer {
        table: "serviceaccounts",
        columns: &[NAME, column("Secrets", Count(&["/secrets"])), AGE],
    },
    Printer {
        table: "leases.coordination.k8s.io",
        columns: &[NAME, column("Holder", Bare("/spec/holderIdentity")), AGE],
    },
    Printer {
        table: "pods",
        columns: &[
            NAME,
            column("Ready", Made(pod_ready)),
            column("Status", Made(pod_status)),
            column("Restarts", Made(pod_restarts)),
            AGE,
            wide("IP", Text("/status/podIP")),
            wide("Node", Text("/spec/nodeName")),
            wide("Nominated Node", Text("/status/nominatedNodeName")),
            wide("Readiness Gates", Text("/none")),
        ],
    },
    Printer {
        table: "services",
        columns: &[
            NAME,
            column("Type", Text("/spec/type")),
            column("Cluster-IP", Text("/spec/clusterIP")),
            column("External-IP", Made(external_address)),
            column("Port(s)", Made(service_ports)),
            AGE,
            wide("Selector", Labels("/spec/selector")),
        ],
    },
    Printer {
        table: "deployments.apps",
        columns: &[
            NAME,
            column(
                "Ready",
                Made(|object| ready_of(object, "/status/readyReplicas", "/spec/replicas")),
            ),
            column("Up-to-date", Number("/status/updatedReplicas")),
            column("Available", Number("/status/availableReplicas")),
            AGE,
            wide("Containers", Made(containers)),
            wide("Images", Made(images)),
            wide("Selector", Made(selector)),
        ],
    },
    Printer {
        table: "statefulsets.apps",
        columns: &[
            NAME,
            column(
                "Ready",
                Made(|object| ready_of(object, "/status/readyReplicas", "/spec/replicas")),
            ),
            AGE,
            wide("Containers", Made(containers)),
            wide("Images", Made(images)),
        ],
    },
    Printer {
        table: "replicasets.apps",
        columns: &[
            NAME,
            typed("Desired", "integer", Number("/spec/replicas")),
            typed("Current", "integer", Number("/status/replicas")),
            typed("Ready", "integer", Number("/status/readyReplicas")),
            AGE,
            wide("Containers", Made(containers)),
            wide("Images", Made(images)),
            wide("Selector", Made(selector)),
        ],
    },
    Printer {
        table: "daemonsets.apps",
        columns: &[
            NAME,
            typed("Desired", "integer", Number("/status/desiredNumberScheduled")),
            typed("Current", "integer", Number("/status/currentNumberScheduled")),
            typed("Ready", "integer", Number("/status/numberReady")),
            typed("Up-to-date", "integer", Number("/status/updatedNumberScheduled")),
            typed("Available", "integer", Number("/status/numberAvailable")),
            column("Node Selector", Labels("/spec/template/spec/nodeSelector")),
            AGE,
            wide("Containers", Made(containers)),
            wide("Images", Made(images)),
            wide("Selector", Made(selector)),
        ],
    },
    Printer {
        table: "jobs.batch",
        columns: &[
            NAME,
            column("Status", Made(job_status)),
            column(
                "Completions",
                Made(|object| ready_of(object, "/status/succeeded", "/spec/completions")),
            ),
            column("Duration", Made(job_duration)),
            AGE,
            wide("Containers", Made(containers)),
            wide("Images", Made(images)),
            wide("Selector", Made(selector)),
        ],
    },
    Printer {
        table: "cronjobs.batch",
        columns: &[
            NAME,
            column("Schedule", Text("/spec/schedule")),
            column("Timezone", Text("/spec/timeZone")),
            typed(
                "Suspend",
                "boolean",
                Made(|object| flag_text(object, "/spec/suspend")),
            ),
            typed("Active", "integer", Count(&["/status/active"])),
            column("Last Schedule", Age("/status/lastScheduleTime")),
            AGE,
        ],
    },
    Printer {
        table: "events",
        columns: &[
            column("Last Seen", Made(last_seen)),
            column("Type", Text("/type")),
            column("Reason", Text("/reason")),
            column("Object", Made(event_object)),
            wide("Subobject", Bare("/involvedObject/fieldPath")),
            wide("Source", Made(event_source)),
            column("Message", Made(event_message)),
            wide("First Seen", Age("/firstTimestamp")),
            wide(
                "Count",
                Made(|object| object.get("count").cloned().unwrap_or_else(|| json!(1))),
            ),
            Column {
                format: "name",
                ..wide("Name", Text("/metadata/name"))
            },
        ],
    },
    Printer {
        table: "nodes",
        columns: &[
            NAME,
            column("Status", Made(node_status)),
            column("Roles", Made(node_roles)),
            AGE,
            column("Version", Bare("/status/nodeInfo/kubeletVersion")),
        ],
    },
    Printer {
        table: "rolebindings.rbac.authorization.k8s.io",
        columns: BINDING,
    },
    Printer {
        table: "clusterrolebindings.rbac.authorization.k8s.io",
        columns: BINDING,
    },
    Printer {
        table: "persistentvolumeclaims",
        columns: &[
            NAME,
            column("Status", Text("/status/phase")),
            column("Volume", Bare("/spec/volumeName")),
            column("Capacity", Bare("/status/capacity/storage")),
            column(
                "Access Modes",
                Made(|object| access_modes(object, "/status/accessModes")),
            ),
            column("StorageClass", Bare("/spec/storageClassName")),
            column("VolumeAttributesClass", Text("/spec/volumeAttributesClassName")),
            AGE,
            wide("VolumeMode", Text("/spec/volumeMode")),
        ],
    },
    Printer {
        table: "priorityclasses.scheduling.k8s.io",
        columns: &[
            NAME,
            typed("Value", "integer", Number("/value")),
            typed("Global-Default", "boolean", Flag("/globalDefault")),
            AGE,
            column("PreemptionPolicy", Text("/preemptionPolicy")),
        ],
    },
    Printer {
        table: "networkpolicies.networking.k8s.io",
        columns: &[
            NAME,
            column("Pod-Selector", Labels("/spec/podSelector/matchLabels")),
            AGE,
        ],
    },
    Printer {
        table: "poddisruptionbudgets.policy",
        columns: &[
            NAME,
            column(
                "Min Available",
                Made(|object| or_na(object, "/spec/minAvailable")),
            ),
            column(
                "Max Unavailable",
                Made(|object| or_na(object, "/spec/maxUnavailable")),
            ),
            typed(
                "Allowed Disruptions",
                "integer",
                Number("/status/disruptionsAllowed"),
            ),
            AGE,
        ],
    },
];

fn printer(table: &str) -> &'static Printer {
    PRINTERS
        .iter()
        .find(|printer| printer.table == table)
        .unwrap_or(&PLAIN)
}

pub(super) fn columns(table: &str) -> Vec<Value> {
    let columns = printer(table).columns.iter();
    columns
        .map(|column| definition(column.name, column.kind, column.format, "", column.priority))
        .collect()
}

pub(super) fn cells(table: &str, object: &Value) -> Vec<Value> {
    // Events of their own group have other field names.
    let mut object = std::borrow::Cow::Borrowed(object);
    if table == "events" && object.get("regarding").is_some() {
        crate::api::events::to_old(object.to_mut());
    }
    printer(table)
        .columns
        .iter()
        .map(|column| column.cell.show(&object))
        .collect()
}

impl Cell {
    fn show(&self, object: &Value) -> Value {
        match self {
            Self::Text(pointer) => or_none(text(object, pointer)),
            Self::Bare(pointer) => text(object, pointer).into(),
            Self::Labels(pointer) => labels(object.pointer(pointer)),
            Self::Number(pointer) => object.pointer(pointer).cloned().unwrap_or_else(|| json!(0)),
            Self::Flag(pointer) => object.pointer(pointer).cloned().unwrap_or(Value::Bool(false)),
            Self::Age(pointer) => match text(object, pointer) {
                "" => "<none>".into(),
                time => age(time).into(),
            },
            Self::Count(pointers) => pointers
                .iter()
                .map(|pointer| size(object.pointer(pointer)))
                .sum::<usize>()
                .into(),
            Self::Made(make) => make(object),
        }
    }
}
