//! PostgreSQL, queried and altered from outside of the services.

use anyhow::{Context as _, Result};
use tokio_postgres::{Client, Config, NoTls};

/// Connects; the connection lives as long as the client.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    connect_to(&url.parse()?).await
}

/// Connects with a changed URL.
pub(crate) async fn connect_to(config: &Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await.context("PostgreSQL")?;
    // A connection error is also the next query's error.
    tokio::spawn(connection);
    Ok(client)
}
