//! What alerts are about, and what distinguishes them.

use super::*;
use crate::domain::rules::TargetRule;

/// Labels of a scrape by kube-state-metrics whose labels are kept; the object's own are added.
const STATE_METRICS: [(&str, &str); 7] = [
    ("alertname", "A"),
    ("job", "kube-state-metrics"),
    ("instance", "10.0.0.9:8443"),
    ("endpoint", "https-main"),
    ("service", "kps-kube-state-metrics"),
    ("pod", "kps-kube-state-metrics-5d4f-x2x"),
    ("container", "kube-rbac-proxy-main"),
];

fn labels(all: &[&[(&str, &str)]]) -> Value {
    let mut labels = json!({ "alertname": "A" });
    for (name, text) in all.iter().copied().flatten() {
        labels[*name] = json!(text);
    }
    labels
}

fn target_of(labels: &Value) -> String {
    let target = signal(labels).target;
    format!("{}/{}/{}", target.namespace, target.kind, target.name)
}

fn fingerprint_of(rules: &Rules, labels: &Value) -> String {
    let body = json!({ "alerts": [{ "labels": labels }] });
    let read = read_value(&body).judge(rules, 0).unwrap();
    read.signal.fingerprint().to_string()
}

#[test]
fn first_label_that_names_a_target_is_used() {
    for (given, expected) in [
        (&[][..], "default/Unknown/unknown"),
        (&[("pod", ""), ("node", "n")], "default/Node/n"),
        (
            &[("namespace", "x"), ("deployment", "d"), ("service", "s")],
            "x/Deployment/d",
        ),
        (
            &[("exported_namespace", "e"), ("daemonset", "d")],
            "e/DaemonSet/d",
        ),
        (&[("exported_namespace", "e"), ("pod", "p")], "e/Pod/p"),
        (&[("statefulset", "s"), ("pod", "p")], "default/Pod/p"),
        (
            &[
                ("namespace", "x"),
                ("persistentvolumeclaim", "data-0"),
                ("node", "n"),
            ],
            "x/PersistentVolumeClaim/data-0",
        ),
        (&[("namespace", "x"), ("job_name", "backup-1")], "x/Job/backup-1"),
        (
            &[("horizontalpodautoscaler", "api")],
            "default/HorizontalPodAutoscaler/api",
        ),
        (&[("namespace", "x"), ("container", "app")], "x/Container/app"),
        (&[("namespace", "x"), ("resourcequota", "q")], "x/ResourceQuota/q"),
        (
            &[
                ("job", "payment"),
                ("service", "payment"),
                ("pod", "payment-1"),
                ("instance", "a:1"),
            ],
            "default/Pod/payment-1",
        ),
        // An alert about all of a job.
        (
            &[("namespace", "x"), ("job", "kubelet"), ("service", "kubelet")],
            "x/Service/kubelet",
        ),
    ] {
        assert_eq!(target_of(&labels(&[given])), expected, "{given:?}");
    }
}

#[test]
fn labels_of_an_exporter_name_no_target() {
    for (own, expected) in [
        (&[("namespace", "shop")][..], "shop/Unknown/unknown"),
        (
            &[("namespace", "shop"), ("deployment", "api")],
            "shop/Deployment/api",
        ),
        (
            &[("namespace", "shop"), ("pod", "api-1"), ("container", "app")],
            "shop/Pod/api-1",
        ),
        (
            &[("namespace", "shop"), ("persistentvolumeclaim", "data-0")],
            "shop/PersistentVolumeClaim/data-0",
        ),
        (
            &[("namespace", "shop"), ("job_name", "backup-1")],
            "shop/Job/backup-1",
        ),
        // The namespace is the exporter's own, too.
        (&[("namespace", "monitoring"), ("node", "n")], "default/Node/n"),
        (
            &[("namespace", "monitoring"), ("persistentvolume", "pv-1")],
            "default/PersistentVolume/pv-1",
        ),
        // The scrape has renamed what it found.
        (
            &[
                ("namespace", "monitoring"),
                ("exported_namespace", "shop"),
                ("exported_pod", "api-1"),
            ],
            "shop/Pod/api-1",
        ),
        (
            &[
                ("namespace", "monitoring"),
                ("exported_namespace", "shop"),
                ("job", "custom"),
                ("statefulset", "db"),
            ],
            "shop/StatefulSet/db",
        ),
    ] {
        assert_eq!(target_of(&labels(&[&STATE_METRICS, own])), expected, "{own:?}");
    }
    let node = [
        ("job", "node-exporter"),
        ("namespace", "monitoring"),
        ("pod", "node-exporter-x2x"),
        ("container", "node-exporter"),
        ("instance", "worker-1:9100"),
        ("mountpoint", "/"),
    ];
    assert_eq!(target_of(&labels(&[&node])), "default/Node/worker-1");
}

#[test]
fn identifying_labels_distinguish_alerts_without_a_target() {
    let rules = Rules::default();
    let fingerprint = |own: &[(&str, &str)]| fingerprint_of(&rules, &labels(&[&STATE_METRICS, own]));
    let plain = fingerprint(&[("namespace", "shop"), ("device", "sda")]);
    for same in [
        &[("severity", "critical")][..],
        &[("prometheus_replica", "b")],
        // The exporter's own pod was replaced.
        &[
            ("pod", "kps-kube-state-metrics-77aa-b1b"),
            ("instance", "10.0.0.10:8443"),
        ],
        &[("empty", "")],
    ] {
        let all = [&[("namespace", "shop"), ("device", "sda")], same].concat();
        assert_eq!(fingerprint(&all), plain, "{same:?}");
    }
    for other in [
        [("namespace", "shop"), ("device", "sdb")],
        [("namespace", "bank"), ("device", "sda")],
        [("namespace", "shop"), ("disk", "sda")],
    ] {
        assert_ne!(fingerprint(&other), plain, "{other:?}");
    }
    // Whether a label is the group's or the alert's own does not matter.
    let body = json!({
        "commonLabels": labels(&[&STATE_METRICS, &[("device", "sda")]]),
        "alerts": [{ "labels": { "namespace": "shop" } }],
    });
    let read = read_value(&body).judge(&rules, 0).unwrap();
    assert_eq!(read.signal.fingerprint().to_string(), plain);
}

#[test]
fn name_and_target_alone_are_the_documented_fingerprint() {
    let given = labels(&[&[
        ("alertname", "HighMemoryUsage"),
        ("namespace", "prod-payment-service"),
        ("pod", "payment-api-789"),
        ("severity", "critical"),
        ("job", "payment"),
        ("anything", "else"),
    ]]);
    assert_eq!(
        fingerprint_of(&Rules::default(), &given),
        "8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751"
    );
}

#[test]
fn incidents_of_other_clusters_are_others() {
    let rules = Rules {
        cluster: "eu-1".to_owned(),
        ..Rules::default()
    };
    let in_cluster =
        |cluster: &str| fingerprint_of(&rules, &labels(&[&[("pod", "p"), ("cluster", cluster)]]));
    assert_eq!(in_cluster("eu-1"), in_cluster(""), "the Gateway's own");
    assert_ne!(in_cluster("us-1"), in_cluster("eu-1"));
    assert_ne!(in_cluster("us-1"), in_cluster("us-2"));
    let without_target =
        |cluster: &str| fingerprint_of(&rules, &labels(&[&[("device", "d"), ("cluster", cluster)]]));
    assert_eq!(without_target("eu-1"), without_target(""));
    assert_ne!(without_target("us-1"), without_target("eu-1"));
    let blind = Rules {
        cluster_label: String::new(),
        ..Rules::default()
    };
    let one = fingerprint_of(&blind, &labels(&[&[("pod", "p"), ("cluster", "us-1")]]));
    assert_eq!(one, in_cluster("eu-1"));
}

#[test]
fn rules_are_data() {
    let rules = Rules {
        ignore: vec!["B".to_owned()],
        targets: vec![TargetRule {
            label: "database".to_owned(),
            kind: "Postgres".to_owned(),
            job: "pg".to_owned(),
        }],
        ..Rules::default()
    };
    let kind_of = |job: &str| {
        let body = json!({ "alerts": [{ "labels": { "alertname": "A", "pod": "p", "database": "d", "job": job } }] });
        read_value(&body).judge(&rules, 0).unwrap().signal.target.kind
    };
    assert_eq!((&*kind_of("pg"), &*kind_of("other")), ("Postgres", "Unknown"));
    let verdict = |rules: &Rules, name: &str, status: &str| {
        let body = json!({ "alerts": [{ "labels": { "alertname": name }, "status": status }] });
        read_value(&body).judge(rules, 0).unwrap().verdict
    };
    assert_eq!(verdict(&rules, "B", "resolved"), Verdict::Ignored);
    assert_eq!(verdict(&rules, "Watchdog", "firing"), Verdict::Firing);
    for name in ["Watchdog", "InfoInhibitor"] {
        assert_eq!(verdict(&Rules::default(), name, "firing"), Verdict::Ignored);
    }
}
