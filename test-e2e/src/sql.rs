//! PostgreSQL, looked at and altered from outside.

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, NoTls};

/// Connects; the connection lives as long as the client.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
    // Its error, if any, is also the next query's.
    tokio::spawn(connection);
    Ok(client)
}
