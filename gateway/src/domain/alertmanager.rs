//! Alertmanager's webhook, version 4: every alert becomes a signal, or is rejected by itself.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use wire::problem::FieldError;
use wire::remediation_request::{Severity, SignalType};
use wire::webhook::{Alert, MAX_ALERTS, Texts, Webhook};

use super::freshness;
use super::read::{self, SignalFields};
use super::rules::Rules;
use super::signal::{Distinction, Signal};
use super::stored::Stored;
use super::target::Finder;

/// The program that sends webhooks.
const SOURCE: &str = "alertmanager";

/// A parsed webhook. Its alerts are parsed one after another, by [`Reading::judge`]: all of them at once would take
/// many times the memory of the text.
#[derive(Debug)]
pub struct Reading<B> {
    body: B,
    /// The part of the body of each alert.
    alerts: Vec<(u32, u32)>,
    common_labels: Texts<'static>,
    common_digests: Vec<[u8; 32]>,
    common_annotations: Texts<'static>,
    common_bytes: usize,
    received_time: Timestamp,
    /// Whether the time of sending is known, so that the alerts' own times do not matter.
    stamped: bool,
    /// Whether an alert says when it began.
    dated: bool,
}

/// One alert of a webhook.
#[derive(Debug)]
pub struct Read {
    /// Its signal.
    pub signal: Signal,
    /// What is to be done with it.
    pub verdict: Verdict,
    /// The label that names the target, if one does.
    pub target_label: Option<String>,
}

/// What is to be done with a valid alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fires: it creates a request, or is counted on one.
    Firing,
    /// It is resolved.
    Resolved,
    /// It is in the ignore list.
    Ignored,
}

/// The field of an alert that replays are recognised by.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    #[serde(default)]
    starts_at: Option<Timestamp>,
}

/// Parses the body of a webhook. `stamped`: the time of sending was in a header, and is recent.
///
/// # Errors
/// It is not JSON, not a webhook, or has no alerts or too many. Errors within one alert are that alert's.
pub fn read<B: AsRef<[u8]>>(
    body: B,
    stamped: bool,
    received_time: Timestamp,
) -> Result<Reading<B>, FieldError> {
    let text = body.as_ref();
    let webhook: Webhook<'_> = read::json(text, "")?;
    let count = webhook.alerts.count;
    if count == 0 {
        return Err(read::field_error(
            "",
            "alerts",
            "is empty or absent; expected at least one alert",
        ));
    }
    if count > MAX_ALERTS {
        let message =
            format!("has {count} alerts; at most {MAX_ALERTS} are allowed: set max_alerts of the receiver");
        return Err(read::field_error("", "alerts", message));
    }
    let start = text.as_ptr() as usize;
    let part = |alert: &RawValue| {
        let begin = alert.get().as_ptr() as usize - start;
        let part = |position| u32::try_from(position).unwrap_or(u32::MAX);
        (part(begin), part(begin + alert.get().len()))
    };
    let mut alerts = Vec::with_capacity(count);
    alerts.extend(webhook.alerts.kept.iter().map(|alert| part(alert)));
    let is_dated = |alert: &&RawValue| {
        let start = serde_json::from_str::<Start>(alert.get()).ok();
        let start = start.and_then(|start| given(start.starts_at));
        start.is_some_and(|start| !freshness::is_ahead(start, received_time))
    };
    let common = webhook
        .common_labels
        .iter()
        .chain(webhook.common_annotations.iter());
    Ok(Reading {
        common_bytes: common.map(|(name, text)| name.len() + text.len()).sum(),
        dated: stamped || webhook.alerts.kept.iter().any(is_dated),
        common_digests: webhook
            .common_labels
            .iter()
            .map(|(name, text)| digest(name, text))
            .collect(),
        common_labels: webhook.common_labels.into_owned(),
        common_annotations: webhook.common_annotations.into_owned(),
        alerts,
        received_time,
        stamped,
        body,
    })
}

impl<B: AsRef<[u8]>> Reading<B> {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.as_ref()
    }

    /// Number of alerts.
    #[must_use]
    pub fn count(&self) -> usize {
        self.alerts.len()
    }

    /// Bytes from which the signal of the alert at `position` is made.
    #[must_use]
    pub fn size(&self, position: usize) -> usize {
        self.text(position).len() + self.common_bytes
    }

    /// Parses the alert at `position`.
    ///
    /// # Errors
    /// All errors of the alert.
    pub fn judge(&self, rules: &Rules, position: usize) -> Result<Read, Vec<FieldError>> {
        let prefix = format!("alerts[{position}]");
        let text = self.text(position);
        let alert: Alert<'_> = read::json(text, &prefix).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let verdict = match &*alert.status.0 {
            "" | "firing" => Verdict::Firing,
            "resolved" => Verdict::Resolved,
            other => {
                let message = format!("{other:?} is not a status; expected firing or resolved");
                errors.push(read::field_error(&prefix, "status", message));
                Verdict::Firing
            }
        };
        let starts_at = given(alert.starts_at);
        let (signal, target_label) = self.to_signal(rules, &alert, text, starts_at, &prefix, &mut errors);
        // That no alert has a time is not worth a word about one that is invalid anyway.
        let matters = !self.stamped && (starts_at.is_some() || errors.is_empty());
        if matters && let Err(message) = freshness::check_start(starts_at, self.dated, self.received_time) {
            errors.push(read::field_error(&prefix, "startsAt", message));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let is_ignored = rules.ignore.contains(&signal.name);
        Ok(Read {
            verdict: if is_ignored { Verdict::Ignored } else { verdict },
            signal,
            target_label,
        })
    }

    fn text(&self, position: usize) -> &[u8] {
        let (begin, end) = self.alerts[position];
        &self.body.as_ref()[begin as usize..end as usize]
    }

    /// The signal, and the label that names its target.
    fn to_signal(
        &self,
        rules: &Rules,
        alert: &Alert<'_>,
        text: &[u8],
        starts_at: Option<Timestamp>,
        prefix: &str,
        errors: &mut Vec<FieldError>,
    ) -> (Signal, Option<String>) {
        let labels = Merged {
            own: &alert.labels,
            common: &self.common_labels,
        };
        let annotations = Merged {
            own: &alert.annotations,
            common: &self.common_annotations,
        };
        let name = labels.get("alertname");
        if name.is_none() {
            errors.push(read::field_error(
                prefix,
                "labels.alertname",
                "is empty or absent; expected the alert's name",
            ));
        }
        let finder = Finder::new(rules, &labels);
        let found = finder.target();
        let cluster = labels
            .get(&rules.cluster_label)
            .filter(|cluster| *cluster != rules.cluster);
        let distinction = Distinction {
            cluster: cluster.map(str::to_owned),
            elsewhere: cluster.is_some() && !rules.cluster.is_empty(),
            labels: found
                .label
                .is_none()
                .then(|| self.digest(&finder, &labels))
                .flatten(),
        };
        let target_field = format!("labels.{}", found.label.as_deref().unwrap_or("pod"));
        let namespace_field = format!("labels.{}", found.namespace_label.unwrap_or("namespace"));
        let mut stored = Stored::default();
        let signal = Signal {
            name: name.unwrap_or_default().to_owned(),
            severity: severity(&labels),
            signal_type: SignalType::PrometheusAlert,
            source: SOURCE.to_owned(),
            target: found.target,
            distinction,
            firing_time: starts_at.unwrap_or(self.received_time),
            received_time: self.received_time,
            labels: stored.texts("signalLabels", labels.own, labels.common),
            annotations: stored.texts("signalAnnotations", annotations.own, annotations.common),
            payload: stored.payload(text),
            truncated: stored.truncated,
        };
        errors.extend(read::too_long(
            &signal,
            prefix,
            SignalFields {
                name: "labels.alertname",
                kind: &target_field,
                target: &target_field,
                namespace: &namespace_field,
                source: SOURCE,
            },
        ));
        (signal, found.label)
    }

    /// The digest of all identifying labels; none if there are none.
    fn digest(&self, finder: &Finder<'_>, labels: &Merged<'_>) -> Option<[u8; 32]> {
        // Those of the group are digested once: there may be many alerts, and they may be long.
        let common = self.common_labels.iter().zip(&self.common_digests);
        let common = common.filter(|((name, text), _)| !text.is_empty() && !labels.own.contains(name));
        let common = common.map(|((name, _), digest)| (name, *digest));
        let own = labels.own.iter().filter(|(_, text)| !text.is_empty());
        let own = own.map(|(name, text)| (name, digest(name, text)));
        let mut all: Vec<_> = own
            .chain(common)
            .filter(|(name, _)| finder.is_identifying(name))
            .collect();
        all.sort_unstable();
        let mut hash = Sha256::new();
        for (_, digest) in &all {
            hash.update(digest);
        }
        (!all.is_empty()).then(|| hash.finalize().into())
    }
}

/// The digest of one label.
fn digest(name: &str, text: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update((name.len() as u64).to_be_bytes());
    hash.update(name);
    hash.update(text);
    hash.finalize().into()
}

/// Alertmanager's zero time is none.
fn given(time: Option<Timestamp>) -> Option<Timestamp> {
    time.filter(|time| time.as_second() > 0)
}

/// The labels or annotations of an alert, with the group's common ones that it does not have.
pub(super) struct Merged<'a> {
    own: &'a Texts<'a>,
    common: &'a Texts<'a>,
}

impl Merged<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let source = if self.own.contains(name) {
            self.own
        } else {
            self.common
        };
        source.get(name)
    }
}

fn severity(labels: &Merged<'_>) -> Severity {
    match labels.get("severity").map(str::to_ascii_lowercase).as_deref() {
        Some("critical") => Severity::Critical,
        Some("info") => Severity::Info,
        _ => Severity::Warning,
    }
}

#[cfg(test)]
mod tests;
