//! The rules by which alerts become signals, as configured: what names a target, what identifies an alert without one,
//! what is ignored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How alerts become signals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(inline)]
pub struct Rules {
    /// Names of alerts that create no request.
    pub ignore: Vec<String>,
    /// Labels that name the target and the kind that each means; the first that an alert has is used. Of each,
    /// `exported_LABEL` takes precedence. With `job`, a rule is for alerts of that job only.
    pub targets: Vec<TargetRule>,
    /// Jobs whose metrics are about other objects; `*NAME`: all jobs that end with it. Labels of their own pod, container
    /// and service name no target.
    pub exporters: Vec<String>,
    /// Kinds of objects without a namespace. The namespace of an exporter is not theirs.
    pub cluster_scoped: Vec<String>,
    /// Labels that do not distinguish alerts without a target. All others do.
    pub not_identifying: Vec<String>,
    /// Label with the name of the alert's cluster; empty: clusters are not distinguished.
    pub cluster_label: String,
    /// Name of the Gateway's own cluster in that label; alerts of other clusters are other incidents.
    pub cluster: String,
}

/// A label that names a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct TargetRule {
    /// The label.
    pub label: String,
    /// The kind of the object that it names.
    pub kind: String,
    /// The job whose alerts the rule is for; empty: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job: String,
}

/// Objects that are named by the labels of kube-prometheus' rules. What an alert is about comes before where it runs:
/// a volume before its pod, a pod before its node.
const TARGETS: [(&str, &str, &str); 24] = [
    ("persistentvolumeclaim", "PersistentVolumeClaim", ""),
    ("job_name", "Job", ""),
    ("horizontalpodautoscaler", "HorizontalPodAutoscaler", ""),
    ("hpa", "HorizontalPodAutoscaler", ""),
    ("poddisruptionbudget", "PodDisruptionBudget", ""),
    ("resourcequota", "ResourceQuota", ""),
    ("pod", "Pod", ""),
    ("deployment", "Deployment", ""),
    ("statefulset", "StatefulSet", ""),
    ("daemonset", "DaemonSet", ""),
    ("replicaset", "ReplicaSet", ""),
    ("replicationcontroller", "ReplicationController", ""),
    ("cronjob", "CronJob", ""),
    ("persistentvolume", "PersistentVolume", ""),
    ("node", "Node", ""),
    ("ingress", "Ingress", ""),
    ("networkpolicy", "NetworkPolicy", ""),
    ("configmap", "ConfigMap", ""),
    ("secret", "Secret", ""),
    ("storageclass", "StorageClass", ""),
    ("service", "Service", ""),
    ("instance", "Node", "node-exporter"),
    ("nodename", "Node", "node-exporter"),
    ("container", "Container", ""),
];

impl Default for Rules {
    fn default() -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let target = |(label, kind, job): &(&str, &str, &str)| TargetRule {
            label: (*label).to_owned(),
            kind: (*kind).to_owned(),
            job: (*job).to_owned(),
        };
        Self {
            ignore: texts(&["Watchdog", "InfoInhibitor"]),
            targets: TARGETS.iter().map(target).collect(),
            exporters: texts(&[
                "kube-state-metrics",
                "kubelet",
                "cadvisor",
                "pushgateway",
                "*exporter",
            ]),
            cluster_scoped: texts(&["Node", "PersistentVolume", "StorageClass", "Namespace"]),
            not_identifying: texts(&[
                "severity",
                "prometheus",
                "prometheus_replica",
                "replica",
                "endpoint",
                "metrics_path",
            ]),
            cluster_label: "cluster".to_owned(),
            cluster: String::new(),
        }
    }
}

impl Rules {
    /// The name that labels of the job's own objects contain, if the job is an exporter.
    #[must_use]
    pub fn exporter<'a>(&'a self, job: &'a str) -> Option<&'a str> {
        // A PodMonitor's job is NAMESPACE/NAME.
        let job = job.rsplit('/').next().unwrap_or(job);
        self.exporters
            .iter()
            .find_map(|known| match known.strip_prefix('*') {
                Some(end) => job.ends_with(end).then_some(job),
                None => contains_name(job, known).then_some(known.as_str()),
            })
    }
}

impl TargetRule {
    /// Whether the rule is for alerts of the job.
    #[must_use]
    pub fn is_for(&self, job: &str) -> bool {
        self.job.is_empty() || contains_name(job, &self.job)
    }
}

/// Whether `name` is in `text` as whole words: `kube-state-metrics` in `monitoring-kube-state-metrics-5d4`.
#[must_use]
pub fn contains_name(text: &str, name: &str) -> bool {
    let inner = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    !name.is_empty()
        && text.match_indices(name).any(|(begin, _)| {
            let (before, after) = (&text[..begin], &text[begin + name.len()..]);
            !inner(before.chars().next_back()) && !inner(after.chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_words() {
        for (text, expected) in [
            ("kube-state-metrics", true),
            ("monitoring/kube-state-metrics", true),
            ("kps-kube-state-metrics-5d4f", true),
            ("kube-state-metricsx", false),
            ("xkube-state-metrics", false),
            ("kube-state", false),
        ] {
            assert_eq!(contains_name(text, "kube-state-metrics"), expected, "{text}");
        }
        assert!(!contains_name("a", ""));
    }

    #[test]
    fn exporters_are_found_by_their_jobs() {
        let rules = Rules::default();
        for (job, expected) in [
            ("kube-state-metrics", Some("kube-state-metrics")),
            ("kps-kube-state-metrics", Some("kube-state-metrics")),
            ("monitoring/blackbox-exporter", Some("blackbox-exporter")),
            ("payment", None),
            ("", None),
        ] {
            assert_eq!(rules.exporter(job), expected, "{job}");
        }
    }
}
