//! `gateway explain`: what would become of a payload, without a cluster.

use std::fmt::Write as _;

use jiff::Timestamp;
use wire::problem::FieldError;

use crate::config::{Config, FingerprintOf};
use crate::domain::alertmanager::{self, Read, Verdict};
use crate::domain::signal::Signal;
use crate::domain::{event, freshness, request};

/// The explanation of a payload.
#[derive(Debug, Default)]
pub struct Explanation {
    /// For people, line by line.
    pub text: String,
    /// Number of rejected signals; 1 if the payload is rejected as a whole.
    pub rejected: usize,
}

/// Explains a webhook of Alertmanager or a Kubernetes Event that arrives at `now`.
#[must_use]
pub fn explain(body: &[u8], config: &Config, now: Timestamp) -> Explanation {
    let mut explanation = Explanation::default();
    let is_event = serde_json::from_slice::<serde_json::Value>(body)
        .is_ok_and(|value| value.get("involvedObject").is_some() && value.get("alerts").is_none());
    if is_event {
        explanation.event(body, config, now);
    } else {
        explanation.webhook(body, config, now);
    }
    explanation
}

impl Explanation {
    fn webhook(&mut self, body: &[u8], config: &Config, now: Timestamp) {
        let reading = match alertmanager::read(body, false, now) {
            Ok(reading) => reading,
            Err(error) => return self.reject("webhook", &[error]),
        };
        for position in 0..reading.count() {
            let title = format!("alerts[{position}]");
            match reading.judge(&config.alerts, position) {
                Err(errors) => self.reject(&title, &errors),
                Ok(Read {
                    signal,
                    verdict,
                    target_label,
                }) => {
                    let (status, why) = match verdict {
                        Verdict::Firing => ("accepted", "creates a request, or is counted on the active one"),
                        Verdict::Resolved => ("resolved", "creates no request"),
                        Verdict::Ignored => ("ignored", "its name is in alerts.ignore; creates no request"),
                    };
                    let _ = writeln!(self.text, "{title}: {status}: {why}");
                    let label = match &target_label {
                        Some(label) => format!("label {label}"),
                        None => "no label of alerts.targets".to_owned(),
                    };
                    self.signal(&signal, &label, config);
                }
            }
        }
    }

    fn event(&mut self, body: &[u8], config: &Config, now: Timestamp) {
        let reading = event::read(body, now).and_then(|reading| {
            freshness::check_event(None, reading.last_seen, now).map_err(|error| vec![error])?;
            Ok(reading)
        });
        match reading {
            Err(errors) => self.reject("event", &errors),
            Ok(reading) => {
                let why = "creates a request, or is counted on the active one";
                let _ = writeln!(self.text, "event: accepted: {why}");
                self.signal(&reading.signal, "involvedObject", config);
            }
        }
    }

    fn reject(&mut self, title: &str, errors: &[FieldError]) {
        self.rejected += 1;
        let _ = writeln!(self.text, "{title}: rejected");
        for error in errors {
            let _ = writeln!(self.text, "  {}: {}", error.field, error.message);
        }
    }

    fn signal(&mut self, signal: &Signal, target_from: &str, config: &Config) {
        let fingerprint = signal.fingerprint();
        let target = &signal.target;
        let namespace = if request::is_namespace_name(&target.namespace) {
            format!(
                "{}, or {} if it does not exist",
                target.namespace, config.kubernetes.fallback_namespace
            )
        } else {
            config.kubernetes.fallback_namespace.clone()
        };
        let by_owner = config.deduplication.fingerprint == FingerprintOf::Owner
            && signal.distinction.labels.is_none()
            && !signal.distinction.elsewhere;
        let mut lines = vec![
            ("name", signal.name.clone()),
            ("severity", signal.severity.as_str().to_owned()),
            (
                "target",
                format!(
                    "{}/{}/{} ({target_from})",
                    target.namespace, target.kind, target.name
                ),
            ),
            ("namespace", namespace),
        ];
        if let Some(cluster) = &signal.distinction.cluster {
            lines.push(("cluster", cluster.clone()));
        }
        if by_owner {
            let detail = "of the target's top-level owner, which only the cluster knows";
            lines.push(("fingerprint", detail.to_owned()));
        } else {
            let of = match signal.distinction.labels {
                Some(_) => " (of the identifying labels, too)",
                None => "",
            };
            lines.push(("fingerprint", format!("{fingerprint}{of}")));
            lines.push(("first request", request::name(fingerprint, None)));
        }
        if !signal.truncated.is_empty() {
            lines.push(("truncated", signal.truncated.join(", ")));
        }
        for (name, text) in lines {
            let _ = writeln!(self.text, "  {name:<14}{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2025-12-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn every_alert_is_explained() {
        let body = json!({
            "commonLabels": { "namespace": "prod-payment-service" },
            "alerts": [
                { "labels": { "alertname": "HighMemoryUsage", "pod": "payment-api-789" }, "startsAt": "2025-12-01T11:00:00Z" },
                { "labels": { "alertname": "Watchdog" } },
                { "labels": { "alertname": "Late", "disk": "sda", "cluster": "eu" }, "status": "resolved" },
                { "labels": {}, "startsAt": "2025-12-01T12:05:00Z" },
            ],
        });
        let Explanation { text, rejected } = explain(body.to_string().as_bytes(), &Config::default(), now());
        assert_eq!(rejected, 1);
        let expected = "\
alerts[0]: accepted: creates a request, or is counted on the active one
  name          HighMemoryUsage
  severity      warning
  target        prod-payment-service/Pod/payment-api-789 (label pod)
  namespace     prod-payment-service, or kubernaut-system if it does not exist
  fingerprint   8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751
  first request rr-8ac6f8bc4acc-e3b0c44298fc
alerts[1]: ignored: its name is in alerts.ignore; creates no request
";
        assert!(text.starts_with(expected), "{text}");
        for line in [
            "alerts[2]: resolved: creates no request\n",
            "(no label of alerts.targets)\n",
            "  cluster       eu\n",
            " (of the identifying labels, too)\n",
            "alerts[3]: rejected\n  alerts[3].labels.alertname: is empty or absent",
            "  alerts[3].startsAt: is 300 s in the future",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn events_and_owners_are_explained() {
        let config = Config {
            deduplication: crate::config::Deduplication {
                fingerprint: FingerprintOf::Owner,
                ..Default::default()
            },
            ..Config::default()
        };
        let event = |time: &str| {
            let object = json!({ "kind": "Pod", "name": "p", "namespace": "shop" });
            let body = json!({ "type": "Warning", "reason": "BackOff", "involvedObject": object, "lastTimestamp": time });
            explain(body.to_string().as_bytes(), &config, now())
        };
        let fresh = event("2025-12-01T11:59:00Z");
        assert_eq!(fresh.rejected, 0);
        assert!(
            fresh.text.contains("shop/Pod/p (involvedObject)"),
            "{}",
            fresh.text
        );
        assert!(fresh.text.contains("top-level owner"), "{}", fresh.text);
        let stale = event("2025-12-01T11:00:00Z");
        assert_eq!(stale.rejected, 1);
        assert!(
            stale.text.contains("lastTimestamp: is 3600 s in the past"),
            "{}",
            stale.text
        );
        assert_eq!(explain(b"{", &config, now()).rejected, 1);
    }
}
