//! Connection to Redis.

use anyhow::Context as _;
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};

use crate::config::{Config, Secrets, split_address};

/// The client of the configured server, without a connection.
pub(super) fn client(config: &Config, secrets: &Secrets) -> anyhow::Result<redis::Client> {
    let settings = &config.redis;
    let (host, port) = split_address(&settings.address).context("redis.address is not HOST:PORT")?;
    let encrypted = config.tls_is_on(settings.tls);
    let address = if encrypted {
        ConnectionAddr::TcpTls {
            host: host.to_owned(),
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host.to_owned(), port)
    };
    let mut login = RedisConnectionInfo::default().set_db(settings.database);
    if let Some(user) = &settings.user {
        login = login.set_username(user);
    }
    if let Some(password) = &secrets.redis_password {
        login = login.set_password(password);
    }
    let connection = address.into_connection_info()?.set_redis_settings(login);
    if !encrypted {
        return Ok(redis::Client::open(connection)?);
    }
    let root_cert = match &settings.ca_file {
        Some(path) => Some(
            std::fs::read(path).with_context(|| format!("cannot read redis.ca_file {}", path.display()))?,
        ),
        None => None,
    };
    Ok(redis::Client::build_with_tls(
        connection,
        TlsCertificates {
            client_tls: None,
            root_cert,
        },
    )?)
}
