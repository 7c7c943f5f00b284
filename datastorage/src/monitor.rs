//! What is looked at again and again: whether the stores answer, how the streams stand, whether next month has its
//! partition.

use std::time::Duration;

use redis::RedisError;
use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::domain::event::Micros;
use crate::http::Gate;
use crate::store::database::Session;
use crate::store::partitions;
use crate::store::stream::Kind;
use crate::writer::Shared;

const STREAMS_EVERY: Duration = Duration::from_secs(1);
const CLIENTS_EVERY: Duration = Duration::from_secs(60);
const POSTGRESQL_WITHIN: Duration = Duration::from_secs(5);
const PARTITIONS_EVERY: Duration = Duration::from_secs(24 * 3600);
/// After a failure.
const PARTITIONS_AGAIN: Duration = Duration::from_secs(60);

/// Looks at the streams until the service stops.
pub(crate) async fn streams(shared: Shared, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(STREAMS_EVERY);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        match look_at_streams(&shared).await {
            Ok(()) => shared.availability.up(Dependency::Redis),
            Err(error) => {
                shared.availability.down(Dependency::Redis, error.to_string());
                if let Err(error) = shared.streams.renew() {
                    tracing::warn!(%error, "the connection to Redis can't be renewed");
                }
            }
        }
    }
}

/// Looks whether PostgreSQL answers, until the service stops. Those who write find out sooner; this is for when nobody
/// does.
pub(crate) async fn postgresql(shared: Shared, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(STREAMS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_away = false;
    let mut session = None;
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        match tokio::time::timeout(POSTGRESQL_WITHIN, ask_postgresql(&shared, &mut session)).await {
            Ok(Ok(())) => {
                // Where it answers and takes no writes, it is those who write that say so.
                if std::mem::take(&mut was_away) {
                    shared.availability.up(Dependency::Postgresql);
                }
            }
            Ok(Err(error)) => {
                was_away = true;
                shared
                    .availability
                    .down(Dependency::Postgresql, format!("{error:#}"));
            }
            Err(_) => {
                was_away = true;
                let reason = format!("PostgreSQL did not answer within {POSTGRESQL_WITHIN:?}");
                shared.availability.down(Dependency::Postgresql, reason);
            }
        }
    }
}

/// Through a connection of its own: that all others are in use is load, not absence.
async fn ask_postgresql(shared: &Shared, session: &mut Option<Session>) -> anyhow::Result<()> {
    let open = match session.take() {
        Some(open) if !open.client.is_closed() => open,
        _ => shared.database.session().await?,
    };
    open.client.simple_query("SELECT 1").await?;
    *session = Some(open);
    Ok(())
}

async fn look_at_streams(shared: &Shared) -> Result<(), RedisError> {
    shared.streams.ping().await?;
    for kind in Kind::ALL {
        let (depth, oldest) = shared.streams.depth(kind).await?;
        let now = u64::try_from(Micros::now().0 / 1000).unwrap_or(0);
        let oldest = Duration::from_millis(oldest.map_or(0, |oldest| now.saturating_sub(oldest)));
        let dead = shared.streams.dead(kind).await?;
        shared.metrics.stream(kind, depth, oldest, dead);
    }
    Ok(())
}

/// Makes the partitions around now, daily, until the service stops. A month that a write needs before is made by the
/// write.
pub(crate) async fn partitions(shared: Shared, lifecycle: Lifecycle) {
    loop {
        let wait = match make_partitions(&shared).await {
            Ok(()) => PARTITIONS_EVERY,
            Err(error) => {
                tracing::warn!(%error, "partitions can't be made now");
                PARTITIONS_AGAIN
            }
        };
        tokio::select! {
            () = lifecycle.stopping() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn make_partitions(shared: &Shared) -> anyhow::Result<()> {
    let client = shared.database.pool().get().await?;
    partitions::ensure(&client, &partitions::months_around(Micros::now())).await?;
    Ok(())
}

/// Lets the limiter forget clients that have been quiet, until the service stops.
pub(crate) async fn clients(gate: Gate, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(CLIENTS_EVERY);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => gate.forget_quiet_clients(),
        }
    }
}
