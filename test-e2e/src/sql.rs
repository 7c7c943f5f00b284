//! PostgreSQL, looked at and altered from outside.

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, Config, NoTls};

/// Connects; the connection lives as long as the client.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    connect_to(&url.parse()?).await
}

/// The same, with parts of the URL changed.
pub(crate) async fn connect_to(config: &Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await.context("PostgreSQL")?;
    // Its error, if any, is also the next query's.
    tokio::spawn(connection);
    Ok(client)
}
