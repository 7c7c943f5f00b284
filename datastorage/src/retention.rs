//! Periodic retention.

use std::time::Duration;

use service::server::Lifecycle;

use crate::config::Config;
use crate::domain::event::Micros;
use crate::store::retention::{self, Removed, Retention};
use crate::writer::Shared;

/// Runs until the service stops. With several replicas one works at a time.
pub(crate) async fn run(config: Config, shared: Shared, lifecycle: Lifecycle) {
    if !config.retention.enabled {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_millis(config.retention.interval_ms));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        let work = once(&shared, config.retention.default_days);
        let result = tokio::select! {
            // An interrupted transaction is rolled back and repeated by the next run.
            () = lifecycle.stopping() => return,
            result = work => result,
        };
        match result {
            Ok(Removed {
                partitions: 0,
                rows: 0,
            }) => {}
            Ok(Removed { partitions, rows }) => tracing::info!(partitions, rows, "retention removed events"),
            Err(error) => tracing::warn!(%error, "retention failed and will be retried"),
        }
    }
}

async fn once(shared: &Shared, default_days: i32) -> anyhow::Result<Removed> {
    let mut session = shared.database.session().await?;
    let retention = Retention {
        default_days,
        now: Micros::now(),
        key: shared.log_key.as_deref(),
    };
    Ok(retention::run(&mut session.client, retention).await?)
}
