//! Retention, again and again.

use std::time::Duration;

use service::server::Lifecycle;

use crate::config::Config;
use crate::domain::event::Micros;
use crate::store::failure::describe;
use crate::store::retention::{self, Removed};
use crate::writer::Shared;

/// Runs until the service stops. Where several replicas do, one works at a time.
pub(crate) async fn run(config: Config, shared: Shared, lifecycle: Lifecycle) {
    if !config.retention.enabled {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(config.retention.interval_seconds));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        let work = once(&shared, config.retention.default_days);
        let result = tokio::select! {
            // What it had begun is rolled back; the next run does it.
            () = lifecycle.stopping() => return,
            result = work => result,
        };
        match result {
            Ok(Removed {
                partitions: 0,
                rows: 0,
            }) => {}
            Ok(Removed { partitions, rows }) => tracing::info!(partitions, rows, "retention removed events"),
            Err(error) => tracing::warn!(%error, "retention failed; it is tried again"),
        }
    }
}

async fn once(shared: &Shared, default_days: i32) -> anyhow::Result<Removed> {
    let mut session = shared.database.session().await?;
    retention::run(&mut session.client, default_days, Micros::now())
        .await
        .map_err(|error| anyhow::anyhow!("{}", describe(&error)))
}
