//! Metrics for operators.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, Gateway, PostgreSql};
use crate::harness::scenario::Scenario;
use crate::wait::{Seen, until};

pub(crate) const SCENARIOS: &[Scenario] =
    &[
        Scenario::new("s09_metrics_exist_and_count_exactly", |c| Box::pin(metrics(c)))
            .shares(&[PostgreSql])
            // The Gateway too: its own events would be counted as well.
            .alone(&[DataStorage, Gateway])
            .takes(2, 60),
    ];

async fn metrics(context: &Context) -> Result<()> {
    const WRITES: u32 = 7;
    let datastorage = context.datastorage();
    if context.stack.service("gateway", "metrics").is_ok() {
        until(
            Duration::from_secs(30),
            "the Gateway's spool to be empty",
            async || {
                let events = context
                    .gateway()
                    .metrics()
                    .await?
                    .sum("gateway_audit_spool_events", &[]);
                Ok(if events == Some(0.0) {
                    Seen::Yes(())
                } else {
                    Seen::NotYet(format!("{events:?} events"))
                })
            },
        )
        .await?;
    }
    let before = datastorage.metrics().await?;
    let correlation = context.named("metrics");
    for _ in 0..WRITES {
        let written = datastorage
            .write(&event(&correlation, "gateway.signal.received", Duration::ZERO))
            .await?;
        written.expect(201)?;
    }
    let mut wrong = event(&correlation, "gateway.signal.received", Duration::ZERO);
    wrong["event_outcome"] = json!("perhaps");
    datastorage.write(&wrong).await?.expect(400)?;
    datastorage.events(&correlation).await?;

    let after = datastorage.metrics().await?;
    for name in [
        "datastorage_write_duration_seconds",
        "datastorage_audit_lag_seconds",
        "datastorage_validation_failures_total",
        "datastorage_spill_entries",
        "datastorage_spill_oldest_seconds",
        "datastorage_spill_drained_total",
        "datastorage_dead_lettered_total",
        "datastorage_commit_group_size",
        "datastorage_query_duration_seconds",
    ] {
        ensure!(after.has(name), "no {name} among {:?}", after.names());
    }
    let writes = f64::from(WRITES);
    for (name, labels, expected) in [
        (
            "datastorage_write_duration_seconds_count",
            &[("table", "audit_events")][..],
            writes,
        ),
        ("datastorage_commit_group_size_sum", &[][..], writes),
        (
            "datastorage_validation_failures_total",
            &[("field", "event_outcome"), ("reason", "choice")][..],
            1.0,
        ),
        ("datastorage_query_duration_seconds_count", &[][..], 1.0),
    ] {
        let grown = after.grown_since(&before, name, labels);
        ensure!(
            grown == expected,
            "expected {name}{labels:?} to grow by {expected}, it grew by {grown}"
        );
    }
    Ok(())
}
