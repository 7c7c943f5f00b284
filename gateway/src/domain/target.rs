//! The object that a signal is about.

use super::alertmanager::Merged;
use super::rules::{Rules, contains_name};

/// An object of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its namespace, whether or not it exists.
    pub namespace: String,
    /// Its kind, such as `Pod`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The namespace of objects without one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The prefix of a label of a scraped object where the scrape has one of the same name.
const EXPORTED: &str = "exported_";
/// Labels of a scrape that may be of the exporter itself.
const SCRAPE: [&str; 3] = ["pod", "container", "service"];

/// The target of an alert.
pub(super) struct Found {
    pub(super) target: Target,
    /// The label that names it; none without a target.
    pub(super) label: Option<String>,
    /// The label of its namespace.
    pub(super) namespace_label: Option<&'static str>,
}

/// The labels of one alert, and the exporter that they were scraped from.
pub(super) struct Finder<'a> {
    rules: &'a Rules,
    labels: &'a Merged<'a>,
    job: &'a str,
    exporter: Option<&'a str>,
    /// Whether a label of the scraped object was renamed, so that the scrape's own are of the exporter.
    renamed: bool,
}

impl<'a> Finder<'a> {
    pub(super) fn new(rules: &'a Rules, labels: &'a Merged<'a>) -> Self {
        let job = labels.get("job").unwrap_or_default();
        let mut scrape = SCRAPE.iter().chain(&["namespace", "job", "instance"]);
        let is_renamed = |name: &&str| {
            let exported = format!("{EXPORTED}{name}");
            labels.get(&exported).is_some() && labels.get(name).is_some()
        };
        Self {
            rules,
            labels,
            job,
            exporter: rules.exporter(job),
            renamed: scrape.any(is_renamed),
        }
    }

    /// The object that the alert is about; `Unknown`/`unknown` if no rule finds one.
    pub(super) fn target(&self) -> Found {
        let named = self.rules.targets.iter().filter(|rule| rule.is_for(self.job));
        let named = named.filter_map(|rule| {
            let (label, name) = self.value(&rule.label)?;
            Some((label, rule.kind.as_str(), name))
        });
        let (label, kind, name) = match { named }.next() {
            Some((label, kind, name)) => (Some(label), kind, name),
            None => (None, "Unknown", "unknown"),
        };
        // The instance of a scrape has a port.
        let name = match &label {
            Some(label) if label == "instance" => name.rsplit_once(':').map_or(name, |(host, _)| host),
            _ => name,
        };
        let is_scoped = self.rules.cluster_scoped.iter().any(|known| known == kind);
        let own_namespace = is_scoped && self.exporter.is_some();
        let namespaces = [("exported_namespace", true), ("namespace", !own_namespace)];
        let namespace = namespaces.into_iter().filter(|(_, counts)| *counts);
        let namespace = { namespace }.find_map(|(label, _)| Some((label, self.labels.get(label)?)));
        Found {
            target: Target {
                namespace: namespace.map_or(DEFAULT_NAMESPACE, |(_, name)| name).to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
            },
            label,
            namespace_label: namespace.map(|(label, _)| label),
        }
    }

    /// Whether a label distinguishes alerts without a target.
    pub(super) fn is_identifying(&self, label: &str) -> bool {
        let known = [
            "alertname",
            "namespace",
            "exported_namespace",
            &self.rules.cluster_label,
        ];
        let is_noise = known.contains(&label)
            || self.rules.not_identifying.iter().any(|known| known == label)
            || self.is_exporters(label)
            || (label == "instance" && self.is_exporters("pod"));
        !is_noise
    }

    fn value(&self, label: &str) -> Option<(String, &'a str)> {
        let exported = format!("{EXPORTED}{label}");
        if let Some(name) = self.labels.get(&exported) {
            return Some((exported, name));
        }
        if self.is_exporters(label) {
            return None;
        }
        Some((label.to_owned(), self.labels.get(label)?))
    }

    /// Whether the label is of the exporter itself.
    fn is_exporters(&self, label: &str) -> bool {
        if !SCRAPE.contains(&label) {
            return false;
        }
        let names_it = |label| {
            let name = self.labels.get(label).unwrap_or_default();
            self.exporter
                .is_some_and(|exporter| contains_name(name, exporter))
        };
        // Without an instance the alert is about all of a job, and its service is what it is about.
        let scraped = label != "service" || self.labels.get("instance").is_some();
        self.renamed || (scraped && names_it(label)) || (label == "container" && names_it("pod"))
    }
}
