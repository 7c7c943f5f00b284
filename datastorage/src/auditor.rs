//! Verifies the whole database periodically.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::checkpoints;
use crate::config::Config;
use crate::store::log;
use crate::verify::{self, Scope, Verified};
use crate::writer::Shared;

/// One replica at a time.
const LOCK: i64 = 0x6175_6469_745f_7665;

/// Errors in the log of one verification; `datastorage verify` lists them all.
const MAX_LOGGED: usize = 20;

/// Runs until the service stops: first after a tenth of the interval, so that a service that is restarted daily is
/// verified, too.
pub(crate) async fn run(config: Config, shared: Shared, lifecycle: Lifecycle) {
    let interval = Duration::from_millis(config.verification.interval_ms);
    if interval.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + interval / 10, interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = lifecycle.stopping() => return,
            _ = ticks.tick() => {}
        }
        if shared.availability.is_down(Dependency::Postgresql) {
            continue;
        }
        let result = tokio::select! {
            () = lifecycle.stopping() => return,
            result = once(&config, &shared) => result,
        };
        match result {
            Ok(Some(verified)) => report(&verified, &shared),
            Ok(None) => tracing::debug!("another replica verifies the database"),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the database was not verified"),
        }
    }
}

/// `None` while another replica verifies.
async fn once(config: &Config, shared: &Shared) -> anyhow::Result<Option<Verified>> {
    let session = shared.database.session().await?;
    let locked: bool = session
        .client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
        .await?
        .get(0);
    if !locked {
        return Ok(None);
    }
    let note = match &config.transparency.checkpoint_file {
        Some(file) => read(file).await?,
        None => log::checkpoint(&session.client).await?.map(String::into_bytes),
    };
    let checkpoint = match (note, &shared.log_key) {
        (Some(note), Some(key)) => Some(checkpoints::open(&note, key.verifier())?),
        _ => None,
    };
    let scope = Scope {
        trust: Arc::clone(&shared.trust),
        checkpoints: checkpoint.into_iter().collect(),
        correlation_ids: Vec::new(),
        workers: 1,
        max_rate: Some(config.verification.events_per_second),
        progress: None,
    };
    // The lock ends with its session.
    verify::verify(&shared.database, &scope).await.map(Some)
}

async fn read(file: &PathBuf) -> anyhow::Result<Option<Vec<u8>>> {
    match tokio::fs::read(file).await {
        Ok(note) => Ok(Some(note)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::from(error).context(format!("cannot read {}", file.display()))),
    }
}

fn report(verified: &Verified, shared: &Shared) {
    let Verified {
        leaves,
        chains,
        events,
        errors,
    } = verified;
    shared.metrics.log.verified(*events, errors.len() as u64);
    for error in errors.iter().take(MAX_LOGGED) {
        tracing::error!(error, "the database differs from what was stored");
    }
    tracing::info!(
        leaves,
        chains,
        events,
        errors = errors.len(),
        "the database was verified"
    );
}
