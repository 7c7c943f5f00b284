//! Client of the Gateway: webhooks of Alertmanager and Kubernetes Events.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::harness::context::Context;
use crate::http::{Request, Response};
use crate::metrics::Metrics;

/// Path of Alertmanager's webhooks.
pub(crate) const ALERTS: &str = "/api/v1/signals/prometheus";
/// Path of Kubernetes Events.
pub(crate) const EVENTS: &str = "/api/v1/signals/kubernetes-event";

/// The Gateway of the stack.
#[derive(Clone, Copy)]
pub(crate) struct Gateway<'a> {
    context: &'a Context,
}

impl Context {
    /// A client of the stack's Gateway.
    pub(crate) fn gateway(&self) -> Gateway<'_> {
        Gateway { context: self }
    }
}

impl Gateway<'_> {
    /// Returns a URL of its API.
    pub(crate) fn url(&self, path: &str) -> Result<String> {
        Ok(format!("{}{path}", self.context.stack.service("gateway", "api")?))
    }

    /// Prepares a request with a webhook as its body.
    pub(crate) fn webhook(&self, body: &Value) -> Result<Request> {
        Ok(self.context.http.post(self.url(ALERTS)?, body))
    }

    /// Sends one alert.
    pub(crate) async fn alert(&self, alert: &Alert) -> Result<Response> {
        self.webhook(&webhook(std::slice::from_ref(alert)))?.send().await
    }

    /// Sends a Kubernetes Event.
    pub(crate) async fn event(&self, event: &Value) -> Result<Response> {
        self.context.http.post(self.url(EVENTS)?, event).send().await
    }

    /// Gets `/healthz` or `/readyz`.
    pub(crate) async fn health(&self, path: &str) -> Result<Response> {
        self.context.health("gateway", path).await
    }

    /// Scrapes the metrics.
    pub(crate) async fn metrics(&self) -> Result<Metrics> {
        self.context.metrics("gateway").await
    }
}

/// A firing alert.
#[derive(Debug, Clone)]
pub(crate) struct Alert {
    body: Value,
}

impl Alert {
    /// An alert about a pod of the namespace, firing since now.
    pub(crate) fn new(name: &str, namespace: &str, pod: &str) -> Self {
        let labels = json!({"alertname": name, "namespace": namespace, "pod": pod, "severity": "warning"});
        let annotations =
            json!({"summary": format!("{name} of {pod}"), "runbook_url": "https://runbooks.example/1"});
        Self {
            body: json!({
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": now(),
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example/graph",
                "fingerprint": "c6eda7a4c6ba7a3c",
            }),
        }
    }

    /// Sets a label.
    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.body["labels"][name] = json!(value);
        self
    }

    /// Removes a label.
    pub(crate) fn without_label(mut self, name: &str) -> Self {
        if let Some(labels) = self.body["labels"].as_object_mut() {
            labels.remove(name);
        }
        self
    }

    /// Sets an annotation.
    pub(crate) fn annotation(mut self, name: &str, value: &str) -> Self {
        self.body["annotations"][name] = json!(value);
        self
    }

    /// Sets any field of the alert, valid or not.
    pub(crate) fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body[name] = value.into();
        self
    }

    /// The alert as Alertmanager sends it.
    pub(crate) fn body(&self) -> &Value {
        &self.body
    }
}

/// An Alertmanager webhook, version 4, with these alerts.
pub(crate) fn webhook(alerts: &[Alert]) -> Value {
    let alerts: Vec<_> = alerts.iter().map(|alert| alert.body.clone()).collect();
    json!({
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "kubernaut",
        "groupLabels": {},
        "commonLabels": Map::new(),
        "commonAnnotations": Map::new(),
        "externalURL": "http://alertmanager.example",
        "alerts": alerts,
    })
}

/// A Kubernetes Event about an object, as the API server returns it.
pub(crate) fn event(reason: &str, kind: &str, name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": format!("{name}.17a"), "namespace": namespace},
        "type": "Warning",
        "reason": reason,
        "message": format!("{reason} of {name}"),
        "involvedObject": {"apiVersion": "v1", "kind": kind, "name": name, "namespace": namespace},
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
    })
}

/// The current time in milliseconds, as both senders write it.
pub(crate) fn now() -> String {
    format!("{:.3}", Timestamp::now())
}
