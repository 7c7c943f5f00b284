//! Migration of the schema from any state to this version.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio_postgres::Client;

use crate::harness::context::Context;
use crate::harness::part::Part::PostgreSql;
use crate::harness::scenario::Requirement::{Programs, Redis, SqlAdmin, Workspace};
use crate::harness::scenario::Scenario;
use crate::instance::Program;
use crate::sql;

pub(crate) const SCENARIOS: &[Scenario] =
    &[
        Scenario::new("s18_empty_current_and_older_schemas_are_migrated", |c| {
            Box::pin(migrate(c))
        })
        .shares(&[PostgreSql])
        .requires(&[Programs, SqlAdmin, Redis, Workspace])
        .takes(10, 120),
    ];

const HISTORY: &str = "refinery_schema_history";

async fn migrate(context: &Context) -> Result<()> {
    // Empty, by two at once: one migrates, the other finds it done.
    let fresh = Database::create(context, "fresh").await?;
    ensure!(
        fresh.program(context)?.run(&["migrate", "--check"]).is_err(),
        "an empty database passed as current"
    );
    let (one, other) = (fresh.program(context)?, fresh.program(context)?);
    let both = tokio::task::spawn_blocking(move || one.run(&["migrate"]));
    let other = tokio::task::spawn_blocking(move || other.run(&["migrate"]));
    both.await?.context("migrate beside another")?;
    other.await?.context("migrate beside another")?;
    fresh.program(context)?.run(&["migrate", "--check"])?;
    let whole = fresh.shape().await?;
    ensure!(
        whole
            .iter()
            .any(|column| column.starts_with("audit_events.event_id ")),
        "no audit_events in {whole:?}"
    );

    // Current: nothing changes.
    fresh.program(context)?.run(&["migrate"])?;
    ensure!(
        fresh.shape().await? == whole,
        "migrating again changed the schema"
    );

    // Older: each version before this one.
    let history = fresh.history().await?;
    for version in 1..history.len() {
        let older = Database::create(context, &format!("v{version}")).await?;
        older.bring_to(context, &history[..version]).await?;
        ensure!(
            older.program(context)?.run(&["migrate", "--check"]).is_err(),
            "version {version} passed as current"
        );
        older.program(context)?.run(&["migrate"])?;
        let migrated = older.shape().await?;
        ensure!(
            migrated == whole,
            "from version {version} the schema is {migrated:?}, from an empty database {whole:?}"
        );
    }

    // Newer: of another version of the program.
    let newer = format!(
        "UPDATE {HISTORY} SET version = 999, name = 'of_the_future' WHERE version = {}",
        history.len()
    );
    fresh.admin.batch_execute(&newer).await?;
    let rejected = fresh
        .program(context)?
        .run(&["serve"])
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    ensure!(
        rejected.contains("999"),
        "expected serve to reject version 999, its output was: {rejected}"
    );
    Ok(())
}

/// A row of the history: version, name, checksum.
type Applied = (i32, String, String);

/// A private database, dropped when the scenario ends.
struct Database {
    name: String,
    admin: Client,
}

impl Database {
    async fn create(context: &Context, what: &str) -> Result<Self> {
        let name = context.named(what).replace('-', "_");
        let owner: tokio_postgres::Config = context.stack.component("postgresql", "sql")?.parse()?;
        let owner = owner
            .get_user()
            .context("components.postgresql.sql has no user")?
            .to_owned();
        context.undo_by_sql(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        let admin = context.sql_admin().await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {name} OWNER {owner}"))
            .await?;
        let mut config: tokio_postgres::Config = context.stack.component("postgresql", "admin")?.parse()?;
        let admin = sql::connect_to(config.dbname(&name)).await?;
        Ok(Self { name, admin })
    }

    fn program(&self, context: &Context) -> Result<Program> {
        Program::datastorage(context, &json!({"postgresql": {"database": self.name}}))
    }

    /// Tables with their columns and types.
    async fn shape(&self) -> Result<Vec<String>> {
        let rows = self
            .admin
            .query(
                "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns
                 WHERE table_schema = 'public' ORDER BY 1",
                &[],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    async fn history(&self) -> Result<Vec<Applied>> {
        let select =
            format!("SELECT version::int4, name::text, checksum::text FROM {HISTORY} ORDER BY version");
        let rows = self.admin.query(&select, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect())
    }

    /// Brings the empty database to an older version, as that version's program did.
    async fn bring_to(&self, context: &Context, applied: &[Applied]) -> Result<()> {
        let workspace = context
            .stack
            .workspace
            .as_deref()
            .context("the stack file has no workspace")?;
        let mut config: tokio_postgres::Config = context.stack.component("postgresql", "sql")?.parse()?;
        let owner = sql::connect_to(config.dbname(&self.name)).await?;
        let table = format!(
            "CREATE TABLE {HISTORY} (version int4 PRIMARY KEY, name varchar(255), applied_on varchar(255),
             checksum varchar(255))"
        );
        owner.batch_execute(&table).await?;
        for (version, name, checksum) in applied {
            let file = Path::new("datastorage/migrations").join(format!("V{version}__{name}.sql"));
            let text =
                fs::read_to_string(workspace.join(&file)).with_context(|| file.display().to_string())?;
            owner
                .batch_execute(&text)
                .await
                .with_context(|| file.display().to_string())?;
            let insert = format!("INSERT INTO {HISTORY} VALUES ($1, $2, '2026-01-01T00:00:00Z', $3)");
            owner.execute(&insert, &[version, name, checksum]).await?;
        }
        Ok(())
    }
}
