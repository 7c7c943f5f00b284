//! `datastorage serve`: wiring, and the ordered stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use service::auth::Authorizer;
use service::config::{AuthMode, Environment};
use service::health::ReadinessCell;
use service::http::Limits;
use service::server::{Lifecycle, Listeners};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::availability::{Availability, Dependency};
use crate::checkpoint_targets::Target;
use crate::checkpoints::Publisher;
use crate::config::{Config, FINISH_MS, Secrets};
use crate::drain::Drain;
use crate::http::{self, Answers, Gate, Service};
use crate::metrics::Metrics;
use crate::store::append::Ends;
use crate::store::database::Database;
use crate::store::migrations;
use crate::store::stream::Streams;
use crate::writer::{Shared, Writer};
use crate::{auditor, integrator, monitor, retention};

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn serve(config: Config, secrets: Secrets) -> anyhow::Result<()> {
    check_memory(config.memory.budget_bytes, service::memory::limit())?;
    let lifecycle = Lifecycle::default();
    tokio::spawn(service::server::stop_on_signal(&lifecycle)?);
    let listeners = Listeners::bind(&config.http).await?;
    let readiness = ReadinessCell::default();
    let mut registry = Registry::default();
    let shared = Shared {
        database: Database::new(&config, &secrets)?,
        streams: Streams::new(&config, &secrets)?,
        ends: Ends::default(),
        trust: Arc::new(secrets.trust()),
        log_key: secrets.log_key,
        availability: Availability::new(readiness.clone()),
        metrics: Arc::new(Metrics::new(&mut registry)),
        commit_timeout: Duration::from_millis(config.writer.commit_timeout_ms),
    };
    check_schema(&shared).await?;
    check_redis(&shared, config.environment).await?;
    let authorizer = match config.auth.mode(config.environment) {
        AuthMode::Off => None,
        AuthMode::Kubernetes => Some(Authorizer::connect(&config.auth, None).await?),
    };
    let gate = Gate::new(authorizer, &config.rate_limit);
    let version = service::version(env!("CARGO_PKG_VERSION"));
    let served = listeners.serve_health(
        service::health::router("datastorage", version.clone(), lifecycle.clone(), readiness),
        service::health::metrics(Arc::new(registry)),
    );
    let (writer, mut committers) = Writer::start(&config, &shared);
    let mut helpers = JoinSet::new();
    let stuck_after = Duration::from_millis(config.stream.stuck_after_ms);
    helpers.spawn(monitor::streams(shared.clone(), stuck_after, lifecycle.clone()));
    helpers.spawn(monitor::postgresql(shared.clone(), lifecycle.clone()));
    helpers.spawn(monitor::partitions(shared.clone(), lifecycle.clone()));
    helpers.spawn(Drain::new(&config, shared.clone(), lifecycle.clone()).run());
    let interval = Duration::from_millis(config.transparency.interval_ms);
    let publisher = match &shared.log_key {
        Some(key) => Some(Publisher::new(
            Arc::clone(key),
            config.transparency.checkpoint_file.clone(),
        )?),
        None => None,
    };
    if let Some(publisher) = &publisher {
        for target in &config.transparency.targets {
            let target = Target::new(target, shared.clone())?;
            helpers.spawn(target.run(publisher.subscribe()));
        }
    }
    helpers.spawn(integrator::run(
        interval,
        shared.clone(),
        publisher,
        lifecycle.clone(),
    ));
    helpers.spawn(monitor::clients(gate.clone(), lifecycle.clone()));
    helpers.spawn(retention::run(config.clone(), shared.clone(), lifecycle.clone()));
    helpers.spawn(auditor::run(config.clone(), shared.clone(), lifecycle.clone()));
    tracing::info!(%version, environment = ?config.environment, "serving");
    let service = Service {
        writer,
        shared,
        count_limit: config.query.count_limit,
        exports: Arc::new(Semaphore::new(config.query.exports)),
        clock: config.clock.bounds(),
        answers: Answers::new(config.query.answers_bytes, config.query.max_answer_bytes),
    };
    let api = http::router(service, gate, Limits::new(&config.http), &config.http)?;
    let side = served.serve_api(api, lifecycle, config.stop).await;
    // The routes held the last clone of the writer: the committers end when their queues are empty.
    let finish = async {
        while committers.join_next().await.is_some() {}
        while helpers.join_next().await.is_some() {}
    };
    if tokio::time::timeout(Duration::from_millis(FINISH_MS), finish)
        .await
        .is_err()
    {
        tracing::warn!("the last writes did not complete in time; they were not acknowledged");
    }
    drop(side);
    tracing::info!("stopped");
    Ok(())
}

/// Rejects a budget above the limit of the container, which would be killed in the middle of its work.
fn check_memory(budget_bytes: u64, limit: Option<u64>) -> anyhow::Result<()> {
    match limit {
        Some(limit) if limit < budget_bytes => anyhow::bail!(
            "memory.budget_bytes is {budget_bytes}, but the memory limit of the container is {limit}; lower the budget, \
             or raise the limit"
        ),
        _ => Ok(()),
    }
}

/// Rejects a Redis that loses acknowledged entries, in production; otherwise it is reported by `/readyz`. Starts without
/// a Redis: PostgreSQL accepts writes meanwhile.
async fn check_redis(shared: &Shared, environment: Environment) -> anyhow::Result<()> {
    match monitor::check_durability(shared).await {
        Ok(durability) => {
            if let Some(flaw) = durability.fatal()
                && environment == Environment::Production
            {
                anyhow::bail!("cannot use Redis for acknowledged events: {flaw}");
            }
            shared.availability.up(Dependency::Redis);
        }
        Err(error) => tracing::warn!(%error, "starting without Redis"),
    }
    Ok(())
}

/// Rejects an unknown schema. Starts without a database: the stream accepts writes
/// meanwhile.
async fn check_schema(shared: &Shared) -> anyhow::Result<()> {
    let session = match shared.database.session().await {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(%error, "starting without PostgreSQL: writes go to the stream");
            return Ok(());
        }
    };
    let state = migrations::state(&session.client)
        .await
        .context("cannot check the schema")?;
    if let Some(problem) = state.problem() {
        anyhow::bail!(problem);
    }
    shared.availability.up(Dependency::Postgresql);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_above_the_limit_of_the_container_is_rejected() {
        assert!(check_memory(256 << 20, None).is_ok());
        assert!(check_memory(256 << 20, Some(256 << 20)).is_ok());
        let error = check_memory(256 << 20, Some(128 << 20)).unwrap_err().to_string();
        assert!(
            error.contains("is 268435456") && error.contains("is 134217728"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn production_does_not_start_with_a_redis_that_loses_entries() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (append_only, policy, wanted) in [
            (true, "noeviction", None),
            (true, "allkeys-lru", Some("maxmemory-policy is allkeys-lru")),
            (false, "noeviction", Some("appendonly is no")),
        ] {
            let redis = embedded::Redis::builder()
                .password("secret")
                .append_only(append_only)
                .setting("maxmemory", "100mb")
                .setting("maxmemory-policy", policy)
                .start()
                .unwrap();
            let mut config = Config {
                environment: Environment::Test,
                ..Config::default()
            };
            config.redis.address = format!("127.0.0.1:{}", redis.port());
            let secrets = Secrets {
                redis_password: Some("secret".to_owned()),
                ..Secrets::default()
            };
            let shared = Shared {
                database: Database::new(&config, &secrets).unwrap(),
                streams: Streams::new(&config, &secrets).unwrap(),
                ends: Ends::default(),
                trust: Arc::default(),
                log_key: None,
                availability: Availability::new(ReadinessCell::default()),
                metrics: Arc::new(Metrics::new(&mut Registry::default())),
                commit_timeout: Duration::from_secs(1),
            };
            let found = check_redis(&shared, Environment::Production).await;
            let message = found.err().map(|error| error.to_string());
            assert_eq!(message.is_some(), wanted.is_some(), "{message:?}");
            assert!(message.unwrap_or_default().contains(wanted.unwrap_or_default()));
            assert!(check_redis(&shared, Environment::Test).await.is_ok());
        }
    }
}
