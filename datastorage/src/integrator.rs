//! Grows the transparency log: gives committed events and gaps of retention their places in the tree.

use std::time::Duration;

use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::store::database::Session;
use crate::store::failure::describe;
use crate::store::log;
use crate::writer::Shared;

/// Runs until the service stops, and once more at the end. With several replicas one works at a time.
pub(crate) async fn run(interval: Duration, shared: Shared, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut session = None;
    let mut is_last = false;
    while !is_last {
        tokio::select! {
            () = lifecycle.stopping() => is_last = true,
            _ = ticks.tick() => {}
        }
        if shared.availability.is_down(Dependency::Postgresql) {
            continue;
        }
        if let Err(error) = pass(&shared, &mut session).await {
            // The transaction is rolled back: what waits, waits until the next pass.
            tracing::warn!(%error, "the transparency log does not grow");
            session = None;
        }
    }
}

async fn pass(shared: &Shared, session: &mut Option<Session>) -> anyhow::Result<()> {
    let mut open = match session.take() {
        Some(open) if !open.client.is_closed() => open,
        _ => shared.database.session().await?,
    };
    loop {
        let (size, more) = log::integrate(&mut open.client)
            .await
            .map_err(|error| anyhow::anyhow!("{}", describe(&error)))?;
        shared.metrics.log_size(size);
        if !more {
            break;
        }
    }
    *session = Some(open);
    Ok(())
}
