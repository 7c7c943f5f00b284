//! Grows the transparency log: gives committed events and gaps of retention their places in the tree.

use std::time::Duration;

use service::health::Status;
use service::server::Lifecycle;

use crate::availability::Dependency;
use crate::checkpoints::{PublishError, Publisher};
use crate::store::database::{Session, SessionError};
use crate::store::failure::describe;
use crate::store::log;
use crate::writer::Shared;

/// Runs until the service stops, and once more at the end. With several replicas one works at a time.
pub(crate) async fn run(
    interval: Duration,
    shared: Shared,
    mut publisher: Option<Publisher>,
    lifecycle: Lifecycle,
) {
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
        match pass(&shared, &mut session, publisher.as_mut()).await {
            Ok(()) => shared.availability.transparency(Status::Ok, String::new()),
            Err(error) => {
                // The transaction is rolled back: what waits, waits until the next pass.
                tracing::error!(%error, "the transparency log does not grow");
                shared.availability.transparency(Status::Down, error.to_string());
                session = None;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("{}", describe(.0))]
    Postgresql(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

async fn pass(
    shared: &Shared,
    session: &mut Option<Session>,
    mut publisher: Option<&mut Publisher>,
) -> Result<(), PassError> {
    let mut open = match session.take() {
        Some(open) if !open.client.is_closed() => open,
        _ => shared.database.session().await?,
    };
    if let Some(publisher) = &mut publisher {
        publisher.begin(&mut open.client).await?;
    }
    let mut more = true;
    let mut size = 0;
    while more {
        (size, more) = log::integrate(&mut open.client).await?;
        shared.metrics.log.size(size);
    }
    if let Some(publisher) = publisher {
        let result = publisher.publish(&open.client, size).await;
        let is_altered = matches!(result, Err(PublishError::NotExtension { .. }));
        shared.metrics.log.inconsistent(is_altered);
        result?;
        shared.metrics.log.checkpoint(size);
    }
    *session = Some(open);
    Ok(())
}
