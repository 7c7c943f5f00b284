//! The schema's versions, embedded in the program.

use anyhow::Context as _;
use tokio_postgres::Client;

mod embedded {
    refinery::embed_migrations!("migrations");
    // The compiler does not see the files that the macro reads: this makes it rebuild when one changes.
    const _: [&str; 5] = [
        include_str!("../../migrations/V1__audit_events.sql"),
        include_str!("../../migrations/V2__workflows.sql"),
        include_str!("../../migrations/V3__hash_format.sql"),
        include_str!("../../migrations/V4__transparency_log.sql"),
        include_str!("../../migrations/V5__bounded_outcomes.sql"),
    ];
}

/// The advisory lock that lets one migration run at a time.
const LOCK: i64 = 0x6175_6469_745f_6d69;

/// The database's schema compared with this program's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    Current,
    /// These are missing.
    Behind(Vec<String>),
    /// The database has versions unknown to this program.
    Unknown(Vec<String>),
}

impl State {
    /// What is wrong, and what to do; `None` if nothing is.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Current => None,
            Self::Behind(missing) => Some(format!(
                "the database's schema is older than this program: {} not applied; run `datastorage migrate` first",
                missing.join(", ")
            )),
            Self::Unknown(versions) => Some(format!(
                "the database's schema has {}, which this program (schema {}) does not know; run the newer version",
                versions.join(", "),
                latest()
            )),
        }
    }
}

/// The schema version that this program requires.
pub(crate) fn latest() -> i32 {
    embedded::migrations::runner()
        .get_migrations()
        .iter()
        .map(refinery::Migration::version)
        .max()
        .unwrap_or(0)
}

/// Compares the database's schema with this program's. Changes nothing.
pub(crate) async fn state(client: &Client) -> anyhow::Result<State> {
    let exists: bool = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await
        .context("cannot find the schema's history")?
        .get(0);
    let applied: Vec<(i32, String, String)> = if exists {
        let rows = client
            .query(
                "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version",
                &[],
            )
            .await
            .context("cannot read the schema's history")?;
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    } else {
        Vec::new()
    };
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations();
    let unknown: Vec<String> = applied
        .iter()
        .filter(|(version, _, checksum)| {
            !known.iter().any(|migration| {
                migration.version() == *version && migration.checksum().to_string() == *checksum
            })
        })
        .map(|(version, name, _)| format!("V{version}__{name}"))
        .collect();
    if !unknown.is_empty() {
        return Ok(State::Unknown(unknown));
    }
    let mut missing: Vec<&refinery::Migration> = known
        .iter()
        .filter(|migration| {
            !applied
                .iter()
                .any(|(version, _, _)| *version == migration.version())
        })
        .collect();
    missing.sort_by_key(|migration| migration.version());
    if missing.is_empty() {
        Ok(State::Current)
    } else {
        Ok(State::Behind(
            missing.into_iter().map(ToString::to_string).collect(),
        ))
    }
}

/// Migrates the schema to this program's version; concurrent calls wait for each other. Returns what was applied.
pub(crate) async fn migrate(client: &mut Client) -> anyhow::Result<Vec<String>> {
    // A migration may take longer than a statement of the service.
    client
        .batch_execute("SET statement_timeout = 0; SET lock_timeout = 0")
        .await?;
    // Held by the session of the migrations: if it breaks, the lock and the migration end.
    client
        .query_one("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await
        .context("cannot take the migration lock")?;
    let result = migrate_locked(client).await;
    // After a failure the session ends, and the lock with it.
    if result.is_ok() {
        client
            .query_one("SELECT pg_advisory_unlock($1)", &[&LOCK])
            .await?;
    }
    result
}

async fn migrate_locked(client: &mut Client) -> anyhow::Result<Vec<String>> {
    if let State::Unknown(versions) = state(client).await? {
        anyhow::bail!(
            "the database has {}, which this version of datastorage (schema {}) does not know: use the version that \
             made it, or a newer one",
            versions.join(", "),
            latest()
        );
    }
    let report = embedded::migrations::runner()
        .run_async(client)
        .await
        .map_err(|error| anyhow::anyhow!("a migration failed and was rolled back: {}", chain(&error)))?;
    Ok(report
        .applied_migrations()
        .iter()
        .map(ToString::to_string)
        .collect())
}

/// The error with its causes: the outer ones say only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
