//! Columns of the built-in kinds.

use serde_json::{Value, json};

use super::cells::{
    access_modes, containers, event_message, event_object, event_source, external_address, flag_text, images,
    job_duration, job_status, labels, last_seen, node_roles, node_status, or_na, or_none, pod_ready,
    pod_restarts, pod_status, ready_of, role, selector, service_ports, size, subjects,
};
use super::{age, definition};
use crate::object::text;

/// What a cell shows.
enum Cell {
    /// A text at a place; `<none>` when there is none.
    Text(&'static str),
    /// A number at a place; 0 when there is none.
    Number(&'static str),
    /// A flag at a place.
    Flag(&'static str),
    /// Time since what is at a place.
    Age(&'static str),
    /// How many there are of what is at these places.
    Count(&'static [&'static str]),
    /// What only a function can say.
    Made(fn(&Value) -> Value),
}

struct Printer {
    table: &'static str,
    /// Name, type, format, priority, cell.
    columns: &'static [(&'static str, &'static str, &'static str, i64, Cell)],
}

use Cell::{Age, Count, Flag, Made, Number, Text};

const CREATED: Cell = Age("/metadata/creationTimestamp");
const NAME: (&str, &str, &str, i64, Cell) = ("Name", "string", "name", 0, Text("/metadata/name"));
const AGE: (&str, &str, &str, i64, Cell) = ("Age", "string", "", 0, CREATED);

/// For kinds without columns of their own.
const PLAIN: Printer = Printer {
    table: "",
    columns: &[
        NAME,
        ("Created At", "date", "", 0, Text("/metadata/creationTimestamp")),
    ],
};

const PRINTERS: &[Printer] = &[
    Printer {
        table: "namespaces",
        columns: &[NAME, ("Status", "string", "", 0, Text("/status/phase")), AGE],
    },
    Printer {
        table: "configmaps",
        columns: &[
            NAME,
            ("Data", "string", "", 0, Count(&["/data", "/binaryData"])),
            AGE,
        ],
    },
    Printer {
        table: "secrets",
        columns: &[
            NAME,
            ("Type", "string", "", 0, Text("/type")),
            ("Data", "string", "", 0, Count(&["/data"])),
            AGE,
        ],
    },
    Printer {
        table: "serviceaccounts",
        columns: &[NAME, ("Secrets", "string", "", 0, Count(&["/secrets"])), AGE],
    },
    Printer {
        table: "leases.coordination.k8s.io",
        columns: &[
            NAME,
            (
                "Holder",
                "string",
                "",
                0,
                Made(|object| text(object, "/spec/holderIdentity").into()),
            ),
            AGE,
        ],
    },
    Printer {
        table: "pods",
        columns: &[
            NAME,
            ("Ready", "string", "", 0, Made(pod_ready)),
            ("Status", "string", "", 0, Made(pod_status)),
            ("Restarts", "string", "", 0, Made(pod_restarts)),
            AGE,
            ("IP", "string", "", 1, Text("/status/podIP")),
            ("Node", "string", "", 1, Text("/spec/nodeName")),
            (
                "Nominated Node",
                "string",
                "",
                1,
                Text("/status/nominatedNodeName"),
            ),
            ("Readiness Gates", "string", "", 1, Text("/none")),
        ],
    },
    Printer {
        table: "services",
        columns: &[
            NAME,
            ("Type", "string", "", 0, Text("/spec/type")),
            ("Cluster-IP", "string", "", 0, Text("/spec/clusterIP")),
            ("External-IP", "string", "", 0, Made(external_address)),
            ("Port(s)", "string", "", 0, Made(service_ports)),
            AGE,
            (
                "Selector",
                "string",
                "",
                1,
                Made(|object| labels(object.pointer("/spec/selector"))),
            ),
        ],
    },
    Printer {
        table: "deployments.apps",
        columns: &[
            NAME,
            (
                "Ready",
                "string",
                "",
                0,
                Made(|object| ready_of(object, "/status/readyReplicas", "/spec/replicas")),
            ),
            ("Up-to-date", "string", "", 0, Number("/status/updatedReplicas")),
            ("Available", "string", "", 0, Number("/status/availableReplicas")),
            AGE,
            ("Containers", "string", "", 1, Made(containers)),
            ("Images", "string", "", 1, Made(images)),
            ("Selector", "string", "", 1, Made(selector)),
        ],
    },
    Printer {
        table: "statefulsets.apps",
        columns: &[
            NAME,
            (
                "Ready",
                "string",
                "",
                0,
                Made(|object| ready_of(object, "/status/readyReplicas", "/spec/replicas")),
            ),
            AGE,
            ("Containers", "string", "", 1, Made(containers)),
            ("Images", "string", "", 1, Made(images)),
        ],
    },
    Printer {
        table: "replicasets.apps",
        columns: &[
            NAME,
            ("Desired", "integer", "", 0, Number("/spec/replicas")),
            ("Current", "integer", "", 0, Number("/status/replicas")),
            ("Ready", "integer", "", 0, Number("/status/readyReplicas")),
            AGE,
            ("Containers", "string", "", 1, Made(containers)),
            ("Images", "string", "", 1, Made(images)),
            ("Selector", "string", "", 1, Made(selector)),
        ],
    },
    Printer {
        table: "daemonsets.apps",
        columns: &[
            NAME,
            (
                "Desired",
                "integer",
                "",
                0,
                Number("/status/desiredNumberScheduled"),
            ),
            (
                "Current",
                "integer",
                "",
                0,
                Number("/status/currentNumberScheduled"),
            ),
            ("Ready", "integer", "", 0, Number("/status/numberReady")),
            (
                "Up-to-date",
                "integer",
                "",
                0,
                Number("/status/updatedNumberScheduled"),
            ),
            ("Available", "integer", "", 0, Number("/status/numberAvailable")),
            (
                "Node Selector",
                "string",
                "",
                0,
                Made(|object| labels(object.pointer("/spec/template/spec/nodeSelector"))),
            ),
            AGE,
            ("Containers", "string", "", 1, Made(containers)),
            ("Images", "string", "", 1, Made(images)),
            ("Selector", "string", "", 1, Made(selector)),
        ],
    },
    Printer {
        table: "jobs.batch",
        columns: &[
            NAME,
            ("Status", "string", "", 0, Made(job_status)),
            (
                "Completions",
                "string",
                "",
                0,
                Made(|object| ready_of(object, "/status/succeeded", "/spec/completions")),
            ),
            ("Duration", "string", "", 0, Made(job_duration)),
            AGE,
            ("Containers", "string", "", 1, Made(containers)),
            ("Images", "string", "", 1, Made(images)),
            ("Selector", "string", "", 1, Made(selector)),
        ],
    },
    Printer {
        table: "cronjobs.batch",
        columns: &[
            NAME,
            ("Schedule", "string", "", 0, Text("/spec/schedule")),
            ("Timezone", "string", "", 0, Text("/spec/timeZone")),
            (
                "Suspend",
                "boolean",
                "",
                0,
                Made(|object| flag_text(object, "/spec/suspend")),
            ),
            ("Active", "integer", "", 0, Count(&["/status/active"])),
            ("Last Schedule", "string", "", 0, Age("/status/lastScheduleTime")),
            AGE,
        ],
    },
    Printer {
        table: "events",
        columns: &[
            ("Last Seen", "string", "", 0, Made(last_seen)),
            ("Type", "string", "", 0, Text("/type")),
            ("Reason", "string", "", 0, Text("/reason")),
            ("Object", "string", "", 0, Made(event_object)),
            (
                "Subobject",
                "string",
                "",
                1,
                Made(|object| text(object, "/involvedObject/fieldPath").into()),
            ),
            ("Source", "string", "", 1, Made(event_source)),
            ("Message", "string", "", 0, Made(event_message)),
            ("First Seen", "string", "", 1, Age("/firstTimestamp")),
            (
                "Count",
                "string",
                "",
                1,
                Made(|object| object.get("count").cloned().unwrap_or_else(|| json!(1))),
            ),
            ("Name", "string", "name", 1, Text("/metadata/name")),
        ],
    },
    Printer {
        table: "nodes",
        columns: &[
            NAME,
            ("Status", "string", "", 0, Made(node_status)),
            ("Roles", "string", "", 0, Made(node_roles)),
            AGE,
            (
                "Version",
                "string",
                "",
                0,
                Made(|object| text(object, "/status/nodeInfo/kubeletVersion").into()),
            ),
        ],
    },
    Printer {
        table: "rolebindings.rbac.authorization.k8s.io",
        columns: &[
            NAME,
            ("Role", "string", "", 0, Made(role)),
            AGE,
            ("Users", "string", "", 1, Made(|object| subjects(object, "User"))),
            (
                "Groups",
                "string",
                "",
                1,
                Made(|object| subjects(object, "Group")),
            ),
            (
                "ServiceAccounts",
                "string",
                "",
                1,
                Made(|object| subjects(object, "ServiceAccount")),
            ),
        ],
    },
    Printer {
        table: "clusterrolebindings.rbac.authorization.k8s.io",
        columns: &[
            NAME,
            ("Role", "string", "", 0, Made(role)),
            AGE,
            ("Users", "string", "", 1, Made(|object| subjects(object, "User"))),
            (
                "Groups",
                "string",
                "",
                1,
                Made(|object| subjects(object, "Group")),
            ),
            (
                "ServiceAccounts",
                "string",
                "",
                1,
                Made(|object| subjects(object, "ServiceAccount")),
            ),
        ],
    },
    Printer {
        table: "persistentvolumeclaims",
        columns: &[
            NAME,
            ("Status", "string", "", 0, Text("/status/phase")),
            (
                "Volume",
                "string",
                "",
                0,
                Made(|object| text(object, "/spec/volumeName").into()),
            ),
            (
                "Capacity",
                "string",
                "",
                0,
                Made(|object| text(object, "/status/capacity/storage").into()),
            ),
            (
                "Access Modes",
                "string",
                "",
                0,
                Made(|object| access_modes(object, "/status/accessModes")),
            ),
            (
                "StorageClass",
                "string",
                "",
                0,
                Made(|object| text(object, "/spec/storageClassName").into()),
            ),
            (
                "VolumeAttributesClass",
                "string",
                "",
                0,
                Text("/spec/volumeAttributesClassName"),
            ),
            AGE,
            ("VolumeMode", "string", "", 1, Text("/spec/volumeMode")),
        ],
    },
    Printer {
        table: "priorityclasses.scheduling.k8s.io",
        columns: &[
            NAME,
            ("Value", "integer", "", 0, Number("/value")),
            ("Global-Default", "boolean", "", 0, Flag("/globalDefault")),
            AGE,
            ("PreemptionPolicy", "string", "", 0, Text("/preemptionPolicy")),
        ],
    },
    Printer {
        table: "networkpolicies.networking.k8s.io",
        columns: &[
            NAME,
            (
                "Pod-Selector",
                "string",
                "",
                0,
                Made(|object| labels(object.pointer("/spec/podSelector/matchLabels"))),
            ),
            AGE,
        ],
    },
    Printer {
        table: "poddisruptionbudgets.policy",
        columns: &[
            NAME,
            (
                "Min Available",
                "string",
                "",
                0,
                Made(|object| or_na(object, "/spec/minAvailable")),
            ),
            (
                "Max Unavailable",
                "string",
                "",
                0,
                Made(|object| or_na(object, "/spec/maxUnavailable")),
            ),
            (
                "Allowed Disruptions",
                "integer",
                "",
                0,
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
        .map(|(name, kind, format, priority, _)| definition(name, kind, format, "", *priority))
        .collect()
}

pub(super) fn cells(table: &str, object: &Value) -> Vec<Value> {
    // Events of their own group have other names for their fields.
    let mut object = std::borrow::Cow::Borrowed(object);
    if table == "events" && object.get("regarding").is_some() {
        crate::api::events::to_old(object.to_mut());
    }
    printer(table)
        .columns
        .iter()
        .map(|(.., cell)| cell.show(&object))
        .collect()
}

impl Cell {
    fn show(&self, object: &Value) -> Value {
        match self {
            Self::Text(place) => or_none(text(object, place)),
            Self::Number(place) => object.pointer(place).cloned().unwrap_or_else(|| json!(0)),
            Self::Flag(place) => object.pointer(place).cloned().unwrap_or(Value::Bool(false)),
            Self::Age(place) => match text(object, place) {
                "" => "<none>".into(),
                time => age(time).into(),
            },
            Self::Count(places) => places
                .iter()
                .map(|place| size(object.pointer(place)))
                .sum::<usize>()
                .into(),
            Self::Made(make) => make(object),
        }
    }
}
