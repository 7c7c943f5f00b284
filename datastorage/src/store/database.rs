//! Connections to PostgreSQL: the pool for queries, and single sessions for writers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config as ClientConfig};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::split_address;
use crate::config::{Config, Secrets};
use crate::store::tls;

/// Access to the database.
#[derive(Clone)]
pub(crate) struct Database {
    client: ClientConfig,
    tls: MakeRustlsConnect,
    connect_timeout: Duration,
    settings: Arc<str>,
    pool: Pool,
}

/// A connection of its own, closed on drop.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Database {
    /// Prepares connections without opening any.
    pub(crate) fn new(config: &Config, secrets: &Secrets) -> anyhow::Result<Self> {
        let postgresql = &config.postgresql;
        let (host, port) =
            split_address(&postgresql.address).context("postgresql.address is not HOST:PORT")?;
        let encrypted = config.tls_is_on(postgresql.tls);
        let mut client = ClientConfig::new();
        client
            .host(host)
            .port(port)
            .dbname(&postgresql.database)
            .user(&postgresql.user)
            .application_name("datastorage")
            .connect_timeout(Duration::from_millis(postgresql.connect_timeout_ms))
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives_idle(Duration::from_secs(15))
            .ssl_mode(if encrypted {
                tokio_postgres::config::SslMode::Require
            } else {
                tokio_postgres::config::SslMode::Disable
            });
        if let Some(password) = &secrets.postgresql_password {
            client.password(password);
        }
        let tls = MakeRustlsConnect::new(tls::client(postgresql.ca_file.as_deref())?);
        let settings: Arc<str> = settings(postgresql.statement_timeout_ms, postgresql.lock_timeout_ms).into();
        let pool = pool(config, client.clone(), tls.clone(), Arc::clone(&settings))?;
        let connect_timeout = Duration::from_millis(postgresql.connect_timeout_ms);
        Ok(Self {
            client,
            tls,
            connect_timeout,
            settings,
            pool,
        })
    }

    /// The pool: queries, notifications, holds.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Maximum time to open a connection.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Opens a connection of its own.
    pub(crate) async fn session(&self) -> Result<Session, SessionError> {
        let connect = async {
            let (client, connection) = self.client.connect(self.tls.clone()).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to PostgreSQL ended");
                }
            });
            let session = Session { client, driver };
            session.client.batch_execute(&self.settings).await?;
            Ok(session)
        };
        match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(result) => result.map_err(SessionError::Failed),
            Err(_) => Err(SessionError::TimedOut(self.connect_timeout)),
        }
    }
}

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("cannot connect to PostgreSQL: {}", crate::store::failure::describe(.0))]
    Failed(tokio_postgres::Error),
    #[error("PostgreSQL does not respond within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

/// Settings of every session. A 201 means a durable row, whatever the server's default is.
fn settings(statement_timeout_ms: u64, lock_timeout_ms: u64) -> String {
    format!(
        "SET statement_timeout = {statement_timeout_ms}; SET lock_timeout = {lock_timeout_ms}; \
         SET idle_in_transaction_session_timeout = 30000; SET timezone = 'UTC'; \
         SELECT set_config('synchronous_commit', 'on', false) \
           WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )
}

fn pool(
    config: &Config,
    client: ClientConfig,
    tls: MakeRustlsConnect,
    settings: Arc<str>,
) -> anyhow::Result<Pool> {
    let postgresql = &config.postgresql;
    let manager = Manager::from_config(
        client,
        tls,
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let pool = Pool::builder(manager)
        .max_size(postgresql.pool_size)
        .wait_timeout(Some(Duration::from_millis(postgresql.pool_wait_ms)))
        // A query has no fallback: it waits for a new connection as long as for a free one.
        .create_timeout(Some(Duration::from_millis(postgresql.pool_wait_ms)))
        .recycle_timeout(Some(Duration::from_millis(postgresql.connect_timeout_ms)))
        .runtime(Runtime::Tokio1)
        .post_create(Hook::async_fn(move |client, _| {
            let settings = Arc::clone(&settings);
            Box::pin(async move { client.batch_execute(&settings).await.map_err(HookError::Backend) })
        }))
        .build()?;
    Ok(pool)
}
