//! Periodic checks: availability of the stores, state of the streams, next month's partition.

mod spill_watch;

use std::time::{Duration, Instant};

use redis::RedisError;
use service::health::Status;
use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::domain::event::Micros;
use crate::http::Gate;
use crate::store::database::Session;
use crate::store::stream::{Durability, Kind};
use crate::store::{migrations, partitions};
use crate::writer::Shared;

use spill_watch::SpillWatch;

const STREAMS_EVERY: Duration = Duration::from_secs(1);
const DURABILITY_EVERY: Duration = Duration::from_secs(60);
const CLIENTS_EVERY: Duration = Duration::from_secs(60);
const POSTGRESQL_WITHIN: Duration = Duration::from_secs(5);
const PARTITIONS_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Delay after a failure.
const PARTITIONS_AGAIN: Duration = Duration::from_secs(60);

/// Checks the streams until the service stops.
pub(crate) async fn streams(shared: Shared, stuck_after: Duration, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(STREAMS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watch = SpillWatch::new(stuck_after);
    let mut checked: Option<Instant> = None;
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        match look_at_streams(&shared, &mut watch).await {
            Ok(()) => {
                // Another server may be at Redis' address now, and settings change while it runs.
                let again = shared.availability.is_down(Dependency::Redis)
                    || checked.is_none_or(|at| at.elapsed() >= DURABILITY_EVERY);
                if again && check_durability(&shared).await.is_ok() {
                    checked = Some(Instant::now());
                }
                shared.availability.up(Dependency::Redis);
            }
            Err(error) => {
                shared.availability.down(Dependency::Redis, error.to_string());
                if let Err(error) = shared.streams.renew() {
                    tracing::warn!(%error, "cannot renew the connection to Redis");
                }
            }
        }
    }
}

/// Checks whether Redis keeps what it acknowledges, and reports what is wrong by log, metric and `/readyz`.
pub(crate) async fn check_durability(shared: &Shared) -> Result<Durability, RedisError> {
    let durability = shared.streams.durability().await?;
    let detail = durability.detail();
    shared.metrics.redis_flaws(&durability.names());
    if shared.availability.note(Dependency::Redis, detail.clone()) && !detail.is_empty() {
        tracing::warn!(detail, "Redis may lose acknowledged events");
    }
    Ok(durability)
}

/// Checks PostgreSQL until the service stops. Writers notice sooner; this is for times without writes.
pub(crate) async fn postgresql(shared: Shared, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(STREAMS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_unavailable = false;
    let mut session = None;
    let mut schema_is_current = false;
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        let ask = ask_postgresql(&shared, &mut session, &mut schema_is_current);
        match tokio::time::timeout(POSTGRESQL_WITHIN, ask).await {
            Ok(Ok(())) => {
                // When it responds and accepts no writes, the writers report that.
                if std::mem::take(&mut was_unavailable) {
                    shared.availability.up(Dependency::Postgresql);
                }
            }
            Ok(Err(error)) => {
                was_unavailable = true;
                shared
                    .availability
                    .down(Dependency::Postgresql, format!("{error:#}"));
            }
            Err(_) => {
                was_unavailable = true;
                let reason = format!("PostgreSQL did not respond within {POSTGRESQL_WITHIN:?}");
                shared.availability.down(Dependency::Postgresql, reason);
            }
        }
    }
}

/// Through a connection of its own: a busy pool is load, not an outage.
async fn ask_postgresql(
    shared: &Shared,
    session: &mut Option<Session>,
    schema_is_current: &mut bool,
) -> anyhow::Result<()> {
    let open = match session.take() {
        Some(open) if !open.client.is_closed() => open,
        _ => shared.database.session().await?,
    };
    open.client.simple_query("SELECT 1").await?;
    // A service that starts before its database checks the schema here.
    if !*schema_is_current {
        let state = migrations::state(&open.client).await?;
        if let Some(problem) = state.problem() {
            tracing::error!(problem, "the schema is not this program's");
            shared.availability.schema(Status::Down, problem.clone());
            anyhow::bail!(problem);
        }
        shared.availability.schema(Status::Ok, String::new());
        *schema_is_current = true;
    }
    *session = Some(open);
    Ok(())
}

async fn look_at_streams(shared: &Shared, watch: &mut SpillWatch) -> Result<(), RedisError> {
    let mut states = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL {
        states.push((kind, shared.streams.state(kind).await?));
    }
    let now = u64::try_from(Micros::now().0 / 1000).unwrap_or(0);
    for (kind, state) in &states {
        let oldest = state.oldest_ms().map_or(0, |oldest| now.saturating_sub(oldest));
        let oldest = Duration::from_millis(oldest);
        shared
            .metrics
            .stream(*kind, state.entries, oldest, state.dead_letters);
        shared
            .metrics
            .spill_bytes(state.bytes, shared.streams.max_bytes());
    }
    watch.report(shared, &states);
    Ok(())
}

/// Creates the current partitions daily, until the service stops. A write creates a month that it needs earlier.
pub(crate) async fn partitions(shared: Shared, lifecycle: Lifecycle) {
    loop {
        let wait = match make_partitions(&shared).await {
            Ok(()) => PARTITIONS_EVERY,
            Err(error) => {
                tracing::warn!(%error, "cannot create partitions");
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

/// Removes idle clients from the limiter, until the service stops.
pub(crate) async fn clients(gate: Gate, lifecycle: Lifecycle) {
    let mut ticks = tokio::time::interval(CLIENTS_EVERY);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => gate.forget_quiet_clients(),
        }
    }
}
