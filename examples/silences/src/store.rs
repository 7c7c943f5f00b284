//! Silences in PostgreSQL.

use std::fs;

use anyhow::Context;
use deadpool_postgres::{Manager, Pool, PoolError};
use serde::Serialize;
use tokio_postgres::NoTls;

use crate::config::Postgresql;

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// A silenced namespace.
#[derive(Debug, Serialize)]
pub(crate) struct Silence {
    pub(crate) namespace: String,
    pub(crate) reason: String,
    pub(crate) seconds_left: i64,
}

#[derive(Clone)]
pub(crate) struct Store(Pool);

impl Store {
    pub(crate) fn new(config: &Postgresql) -> anyhow::Result<Self> {
        let (host, port) = config
            .address
            .rsplit_once(':')
            .context("address must be HOST:PORT")?;
        let password = fs::read_to_string(&config.password_file)
            .with_context(|| format!("cannot read {}", config.password_file.display()))?;
        let mut postgres = tokio_postgres::Config::new();
        postgres
            .host(host)
            .port(port.parse().context("port must be a number")?)
            .dbname(&config.database)
            .user(&config.user)
            .password(password.trim_end());
        Ok(Self(Pool::builder(Manager::new(postgres, NoTls)).build()?))
    }

    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        let mut client = self.0.get().await?;
        let report = migrations::migrations::runner()
            .run_async(&mut **client.as_mut())
            .await?;
        eprintln!(
            "silences: {} migrations applied",
            report.applied_migrations().len()
        );
        Ok(())
    }

    /// Checks that the database is available and has the schema.
    pub(crate) async fn check(&self) -> Result<(), PoolError> {
        self.0
            .get()
            .await?
            .query("SELECT 1 FROM silences LIMIT 1", &[])
            .await?;
        Ok(())
    }

    /// Silences a namespace from now on.
    pub(crate) async fn put(&self, namespace: &str, reason: &str, minutes: i32) -> Result<(), PoolError> {
        let upsert = "INSERT INTO silences (namespace, reason, until) VALUES ($1, $2, now() + make_interval(mins => $3))
                      ON CONFLICT (namespace) DO UPDATE SET reason = EXCLUDED.reason, until = EXCLUDED.until";
        self.0
            .get()
            .await?
            .execute(upsert, &[&namespace, &reason, &minutes])
            .await?;
        Ok(())
    }

    /// Returns the current silence of a namespace.
    pub(crate) async fn get(&self, namespace: &str) -> Result<Option<Silence>, PoolError> {
        let select = "SELECT namespace, reason, extract(epoch FROM until - now())::bigint
                      FROM silences WHERE namespace = $1 AND until > now()";
        let row = self.0.get().await?.query_opt(select, &[&namespace]).await?;
        Ok(row.map(|row| Silence {
            namespace: row.get(0),
            reason: row.get(1),
            seconds_left: row.get(2),
        }))
    }
}
