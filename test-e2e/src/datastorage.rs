//! Client of DataStorage: writes and queries audit events.

use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::context::Context;
use crate::http::{Request, Response};
use crate::metrics::Metrics;
use crate::wait::{Seen, until};

/// Path of single writes and of queries.
pub(crate) const EVENTS: &str = "/api/v1/audit/events";
/// Path of notifications.
pub(crate) const NOTIFICATIONS: &str = "/api/v1/audit/notifications";
/// Maximum page size.
const LARGEST_PAGE: usize = 1_000;

/// DataStorage of the stack.
#[derive(Clone, Copy)]
pub(crate) struct DataStorage<'a> {
    context: &'a Context,
}

impl Context {
    /// A client of the stack's DataStorage.
    pub(crate) fn datastorage(&self) -> DataStorage<'_> {
        DataStorage { context: self }
    }
}

impl DataStorage<'_> {
    /// Returns a URL of its API.
    pub(crate) fn url(&self, path: &str) -> Result<String> {
        Ok(format!(
            "{}{path}",
            self.context.stack.service("datastorage", "api")?
        ))
    }

    /// Writes one event.
    pub(crate) async fn write(&self, event: &Value) -> Result<Response> {
        self.context.http.post(self.url(EVENTS)?, event).send().await
    }

    /// Writes several events in one request.
    pub(crate) async fn write_batch(&self, events: &[Value]) -> Result<Response> {
        self.context
            .http
            .post(self.url("/api/v1/audit/events/batch")?, &json!(events))
            .send()
            .await
    }

    /// Sends a POST to another path.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        self.context.http.post(self.url(path)?, body).send().await
    }

    /// Verifies the chain of a correlation.
    pub(crate) async fn verify_chain(&self, correlation_id: &str) -> Result<Response> {
        let body = json!({"correlation_id": correlation_id});
        self.post("/api/v1/audit/verify-chain", &body).await?.expect(200)
    }

    /// A query without filters.
    pub(crate) fn query(&self) -> Result<Request> {
        Ok(self.context.http.get(self.url(EVENTS)?))
    }

    /// Returns all events of a correlation, newest first, over all pages.
    pub(crate) async fn events(&self, correlation_id: &str) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        loop {
            let page = self
                .query()?
                .query("correlation_id", correlation_id)
                .query("limit", LARGEST_PAGE);
            let page = page.query("offset", events.len()).send().await?.expect(200)?;
            let Value::Array(found) = page.at("/data")? else {
                return Err(page.wrong("expected a list at /data"));
            };
            events.extend(found);
            // A page of large events ends before its limit.
            if page.at("/pagination/has_more")? == false {
                return Ok(events);
            }
        }
    }

    /// Waits until a correlation has exactly this many events; more are an error at once.
    pub(crate) async fn events_when(
        &self,
        count: usize,
        correlation_id: &str,
        deadline: Duration,
    ) -> Result<Vec<Value>> {
        until(
            deadline,
            &format!("{count} events of {correlation_id}"),
            async || {
                let events = self.events(correlation_id).await?;
                Ok(match events.len() {
                    found if found == count => Seen::Yes(events),
                    found if found > count => Seen::Never(format!("{found} events")),
                    found => Seen::NotYet(format!("{found} events")),
                })
            },
        )
        .await
    }

    /// Gets `/healthz` or `/readyz`.
    pub(crate) async fn health(&self, path: &str) -> Result<Response> {
        self.context.health("datastorage", path).await
    }

    /// Scrapes the metrics.
    pub(crate) async fn metrics(&self) -> Result<Metrics> {
        self.context.metrics("datastorage").await
    }
}

/// An event of this correlation with every field that a service can send; it happened `ago`.
pub(crate) fn event(correlation_id: &str, event_type: &str, ago: Duration) -> Value {
    json!({
        "event_id": Uuid::now_v7().to_string(),
        "version": "1.0",
        "event_type": event_type,
        "event_timestamp": before_now(ago),
        "event_category": "gateway",
        "event_action": "received",
        "event_outcome": "success",
        "correlation_id": correlation_id,
        "actor_type": "service",
        "actor_id": "gateway",
        "resource_type": "Pod",
        "resource_id": "payment-api-789",
        "namespace": "payments",
        "cluster_name": "production",
        "severity": "warning",
        "duration_ms": 12,
        "retention_days": 30,
        "event_data": {"reason": "memory", "nested": {"list": [1, 2.5, "three", null, true]}, "text": "grüße ✓"},
    })
}

/// A notification about a message that was sent just now.
pub(crate) fn notification(notification_id: &str) -> Value {
    json!({
        "notification_id": notification_id,
        "remediation_id": "rr-payment-api",
        "recipient": "operators@payments.example",
        "channel": "email",
        "message_summary": "payment-api was restarted",
        "status": "sent",
        "sent_at": before_now(Duration::from_secs(1)),
        "delivery_status": "250 OK",
        "escalation_level": 1,
    })
}

/// A time before now, rounded to milliseconds.
pub(crate) fn before_now(ago: Duration) -> String {
    format!("{:.3}", Timestamp::now() - ago)
}

/// Fails unless the stored event has every sent field with the same value; times may differ in their
/// representation.
pub(crate) fn stored_whole(sent: &Value, stored: &Value) -> Result<()> {
    let Some(fields) = sent.as_object() else {
        bail!("an event is an object, not {sent}")
    };
    for (name, value) in fields {
        let found = &stored[name.as_str()];
        let same = match (name.as_str(), value.as_str(), found.as_str()) {
            ("event_timestamp", Some(sent), Some(found)) => {
                sent.parse::<Timestamp>()?.as_microsecond() == found.parse::<Timestamp>()?.as_microsecond()
            }
            _ => value == found,
        };
        if !same {
            bail!("{name} was sent as {value} and is stored as {found}, in {stored}");
        }
    }
    Ok(())
}

/// Fails unless the events of one correlation are a complete chain: each position once, each with the hash
/// of its predecessor. Returns them in the order of the chain.
pub(crate) fn chained(events: &[Value]) -> Result<Vec<&Value>> {
    let mut chain: Vec<_> = events.iter().collect();
    chain.sort_by_key(|event| event["sequence"].as_u64());
    let mut previous = json!("0".repeat(64));
    for (place, event) in chain.iter().enumerate() {
        if event["sequence"] != json!(place + 1) {
            bail!("expected position {} of the chain, found {event}", place + 1);
        }
        if event["previous_hash"] != previous {
            bail!("expected the predecessor's hash {previous}, found {event}");
        }
        previous = event["event_hash"].clone();
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_repeats_and_wrong_links_break_a_chain() {
        let link = |sequence: u64, previous: &str, own: &str| json!({"sequence": sequence, "previous_hash": previous, "event_hash": own});
        let first = "0".repeat(64);
        let whole = [link(2, "a", "b"), link(1, &first, "a"), link(3, "b", "c")];
        assert_eq!(chained(&whole).unwrap(), [&whole[1], &whole[0], &whole[2]]);
        assert!(chained(&[link(1, &first, "a"), link(3, "a", "b")]).is_err());
        assert!(chained(&[link(1, &first, "a"), link(1, &first, "b")]).is_err());
        assert!(chained(&[link(1, &first, "a"), link(2, "x", "b")]).is_err());
        assert!(chained(&[link(1, "x", "a")]).is_err());
        assert!(chained(&[]).unwrap().is_empty());
    }

    #[test]
    fn detects_lost_and_changed_fields() {
        let mut sent = event("c", "gateway.signal.received", Duration::from_secs(1));
        sent["event_timestamp"] = json!("2026-01-02T03:04:05.120Z");
        let mut stored = sent.clone();
        stored["event_timestamp"] = json!("2026-01-02T03:04:05.12+00:00");
        stored["sequence"] = json!(1);
        stored_whole(&sent, &stored).unwrap();
        for (field, other) in [
            ("cluster_name", Value::Null),
            ("duration_ms", json!(13)),
            ("event_data", json!({})),
            ("event_timestamp", json!("2026-01-02T03:04:05Z")),
        ] {
            let mut changed = stored.clone();
            changed[field] = other;
            assert!(
                stored_whole(&sent, &changed)
                    .unwrap_err()
                    .to_string()
                    .starts_with(field),
                "{field}"
            );
        }
    }
}
