//! `--print-config`: the configuration in force, each key with what it means.

use toml::{Table, Value};

use super::Config;

/// What each key means. A key that is not here fails a test.
const MEANINGS: &[(&str, &str)] = &[
    (
        "environment",
        "production, development or test. Production asks for tokens and for encrypted connections",
    ),
    (
        "log.filter",
        "which lines are written, such as info or info,access=warn,datastorage=debug; RUST_LOG goes before it",
    ),
    ("http.api", "where the API listens"),
    ("http.health", "where /healthz and /readyz are answered"),
    ("http.metrics", "where /metrics is answered"),
    (
        "http.announce_ms",
        "how long a stopping service still takes new connections, so that a cluster learns of it",
    ),
    (
        "http.drain_seconds",
        "how long requests in flight may take after that",
    ),
    ("postgresql.address", "HOST:PORT"),
    ("postgresql.database", "the database"),
    ("postgresql.user", "the role; it owns the tables"),
    ("postgresql.password_file", "a file with the role's password"),
    (
        "postgresql.tls",
        "verify or off; unset: verify in production, else off",
    ),
    (
        "postgresql.ca_file",
        "PEM certificates to trust instead of the system's",
    ),
    (
        "postgresql.pool_size",
        "connections for queries and notifications; each writer.committers and the drain have one more",
    ),
    (
        "postgresql.connect_timeout_ms",
        "how long opening a connection may take",
    ),
    (
        "postgresql.pool_wait_ms",
        "how long a request waits for a free connection before it is answered 503",
    ),
    (
        "postgresql.statement_timeout_ms",
        "how long one statement may take",
    ),
    (
        "postgresql.lock_timeout_ms",
        "how long a statement waits for a lock",
    ),
    ("redis.address", "HOST:PORT"),
    ("redis.database", "the database's number"),
    ("redis.user", "the ACL user, where there is one"),
    ("redis.password_file", "a file with the password"),
    (
        "redis.tls",
        "verify or off; unset: verify in production, else off",
    ),
    (
        "redis.ca_file",
        "PEM certificates to trust instead of the system's",
    ),
    (
        "redis.connect_timeout_ms",
        "how long opening a connection may take",
    ),
    ("redis.response_timeout_ms", "how long one command may take"),
    (
        "writer.committers",
        "transactions at a time; more help where a commit waits long for the disk",
    ),
    (
        "writer.group_events",
        "events of one transaction at most; a batch is never divided",
    ),
    (
        "writer.queue_mib",
        "memory for events that wait for their transaction; above it writes are answered 503",
    ),
    (
        "writer.commit_timeout_ms",
        "after so long PostgreSQL counts as away and the group goes to the stream",
    ),
    (
        "stream.most_entries",
        "entries of a stream at most; above it writes are answered 503, nothing is ever trimmed",
    ),
    ("stream.drain_interval_ms", "how often the streams are looked at"),
    ("stream.drain_group", "entries of one transaction of the drain"),
    (
        "stream.most_tries",
        "after so many refusals by the database an entry becomes a dead letter",
    ),
    ("query.count_limit", "how far the total of a list is counted"),
    (
        "query.exports",
        "exports at a time; each holds a connection while it runs",
    ),
    (
        "chain.hmac_key_file",
        "a file with the key of the chain, 32 bytes or more; unset: plain SHA-256",
    ),
    (
        "chain.previous_hmac_key_files",
        "keys of before, which older events still verify with",
    ),
    (
        "retention.enabled",
        "whether this replica removes what is older than it must be kept",
    ),
    (
        "retention.default_days",
        "how long events are kept that don't say, 1 to 2555",
    ),
    ("retention.interval_seconds", "how often it looks"),
    (
        "auth.enabled",
        "whether callers must show a token; unset: in production",
    ),
    (
        "auth.kubeconfig",
        "how to reach the Kubernetes API; unset: as a pod does",
    ),
    (
        "auth.audiences",
        "the audiences of a token; empty: the API server's",
    ),
    (
        "auth.namespace",
        "with auth.service: a caller is asked to be allowed get, create or update on services/NAME here",
    ),
    ("auth.service", "see auth.namespace"),
    ("auth.cache_seconds", "how long a verdict on a token is believed"),
    (
        "rate_limit.requests_per_second",
        "requests of one client a second; 0: no limit",
    ),
    (
        "rate_limit.burst",
        "how many may come at once; 0: as many as a second's",
    ),
];

/// The configuration in force as TOML, each key with its meaning, those without a value as comments.
pub(crate) fn print(config: &Config) -> anyhow::Result<String> {
    let table = Table::try_from(config)?;
    let mut text = String::from(
        "# The configuration in force. A key KEY of [SECTION] can also be set as DATASTORAGE__SECTION__KEY.\n",
    );
    let mut section = "";
    for (name, meaning) in MEANINGS {
        let (of, key) = name.split_once('.').unwrap_or(("", name));
        if of != section {
            text.push_str(&format!("\n[{of}]\n"));
            section = of;
        }
        let holder = if of.is_empty() {
            Some(&table)
        } else {
            table.get(of).and_then(Value::as_table)
        };
        let line = match holder.and_then(|holder| holder.get(key)) {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} ="),
        };
        text.push_str(&format!("# {meaning}\n{line}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, PREFIX};

    #[test]
    fn every_key_is_explained_and_every_explanation_has_a_key() {
        let filled = Config {
            postgresql: crate::config::Postgresql {
                password_file: Some("p".into()),
                tls: Some(crate::config::Tls::Verify),
                ca_file: Some("c".into()),
                ..Default::default()
            },
            redis: crate::config::Redis {
                user: Some("u".into()),
                password_file: Some("p".into()),
                tls: Some(crate::config::Tls::Verify),
                ca_file: Some("c".into()),
                ..Default::default()
            },
            chain: crate::config::Chain {
                hmac_key_file: Some("k".into()),
                previous_hmac_key_files: vec!["o".into()],
            },
            auth: crate::config::Auth {
                enabled: Some(true),
                kubeconfig: Some("k".into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let mut keys = Vec::new();
        for (section, value) in Table::try_from(&filled).unwrap() {
            match value {
                Value::Table(table) => {
                    keys.extend(table.into_iter().map(|(key, _)| format!("{section}.{key}")))
                }
                _ => keys.push(section),
            }
        }
        let mut explained: Vec<String> = MEANINGS.iter().map(|(name, _)| (*name).to_owned()).collect();
        keys.sort();
        explained.sort();
        assert_eq!(keys, explained);
    }

    #[test]
    fn what_is_printed_is_a_configuration() {
        let config = Config {
            environment: Environment::Test,
            ..Default::default()
        };
        let printed = print(&config).unwrap();
        let again: Config = service::config::parse("printed", &printed, PREFIX, []).unwrap();
        assert_eq!(print(&again).unwrap(), printed);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "environment = 'production'\ntypo = 1\n[postgresql]\naddress = 'here'\npool_size = 0\ntls = 'off'\n\
                    [redis]\nca_file = 'x'\ntls = 'off'\n[auth]\nenabled = false\n[retention]\ndefault_days = 'x'";
        let error = service::config::parse::<Config>("c.toml", text, PREFIX, [])
            .unwrap_err()
            .to_string();
        for field in [
            "typo:",
            "postgresql.address = here",
            "postgresql.pool_size = 0",
            "postgresql.tls",
            "redis.tls",
            "redis.ca_file",
            "auth.enabled",
            "retention.default_days",
        ] {
            assert!(error.contains(field), "{field} in {error}");
        }
    }
}
