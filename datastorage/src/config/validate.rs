//! Validates what the types of the configuration do not.

use axum::http::Uri;
use service::config::{ConfigError, Environment, Ranges, Validate};

use super::memory::{MIN_DRAIN_GROUP_BYTES, MIN_QUEUE_BYTES};
use super::{Config, Tls};
use crate::domain::event::MAX_RETENTION_DAYS;

/// Time after the last response in which the queues are emptied.
pub(crate) const FINISH_MS: u64 = 8_000;

impl Validate for Config {
    fn complete(&mut self) {
        self.share_memory();
    }

    fn errors(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        self.http.check(&mut errors);
        self.auth.check(self.environment, &mut errors);
        self.stop.check(FINISH_MS, &mut errors);
        self.check_ranges(&mut errors);
        self.check_addresses(&mut errors);
        self.check_tls(&mut errors);
        self.check_targets(&mut errors);
        self.check_memory(&mut errors);
        errors
    }
}

impl Config {
    fn check_ranges(&self, errors: &mut Vec<ConfigError>) {
        let Self {
            postgresql,
            redis,
            writer,
            stream,
            query,
            retention,
            transparency,
            ..
        } = self;
        let mut ranges = Ranges(errors);
        ranges.check("postgresql.pool_size", postgresql.pool_size as u64, 1..=500);
        ranges.check(
            "postgresql.connect_timeout_ms",
            postgresql.connect_timeout_ms,
            100..=60_000,
        );
        ranges.check("postgresql.pool_wait_ms", postgresql.pool_wait_ms, 10..=60_000);
        ranges.check(
            "postgresql.statement_timeout_ms",
            postgresql.statement_timeout_ms,
            100..=600_000,
        );
        ranges.check(
            "postgresql.lock_timeout_ms",
            postgresql.lock_timeout_ms,
            10..=600_000,
        );
        ranges.check("redis.connect_timeout_ms", redis.connect_timeout_ms, 50..=60_000);
        ranges.check(
            "redis.response_timeout_ms",
            redis.response_timeout_ms,
            50..=60_000,
        );
        ranges.check("writer.committers", writer.committers as u64, 1..=32);
        ranges.check("writer.group_events", writer.group_events as u64, 1..=5_000);
        ranges.check(
            "writer.queue_bytes",
            writer.queue_bytes as u64,
            MIN_QUEUE_BYTES as u64..=4 << 30,
        );
        ranges.check("writer.commit_timeout_ms", writer.commit_timeout_ms, 500..=60_000);
        ranges.check("writer.write_timeout_ms", writer.write_timeout_ms, 500..=300_000);
        ranges.check("stream.max_entries", stream.max_entries, 1..=100_000_000);
        ranges.check("stream.max_bytes", stream.max_bytes, 1 << 20..=1 << 40);
        ranges.check("stream.drain_interval_ms", stream.drain_interval_ms, 10..=60_000);
        ranges.check("stream.drain_group", stream.drain_group as u64, 1..=5_000);
        ranges.check(
            "stream.drain_group_bytes",
            stream.drain_group_bytes as u64,
            MIN_DRAIN_GROUP_BYTES as u64..=256 << 20,
        );
        ranges.check("stream.stuck_after_ms", stream.stuck_after_ms, 1_000..=86_400_000);
        ranges.check("stream.max_attempts", stream.max_attempts.into(), 1..=1_000);
        ranges.check("transparency.interval_ms", transparency.interval_ms, 10..=60_000);
        ranges.check("query.exports", query.exports as u64, 1..=100);
        ranges.check(
            "query.max_answer_bytes",
            query.max_answer_bytes as u64,
            1 << 20..=64 << 20,
        );
        ranges.check(
            "query.answers_bytes",
            query.answers_bytes as u64,
            query.max_answer_bytes as u64..=4 << 30,
        );
        ranges.check(
            "query.count_limit",
            query.count_limit.try_into().unwrap_or(0),
            1..=10_000_000,
        );
        ranges.check("clock.max_ahead_ms", self.clock.max_ahead_ms, 0..=31_536_000_000);
        ranges.check("clock.max_age_ms", self.clock.max_age_ms, 0..=220_752_000_000);
        if self.verification.interval_ms != 0 {
            ranges.check(
                "verification.interval_ms",
                self.verification.interval_ms,
                1_000..=31_536_000_000,
            );
        }
        ranges.check(
            "verification.events_per_second",
            self.verification.events_per_second.into(),
            100..=10_000_000,
        );
        ranges.check("retention.interval_ms", retention.interval_ms, 1_000..=86_400_000);
        let max_days = u64::try_from(MAX_RETENTION_DAYS).unwrap_or(0);
        ranges.check(
            "retention.default_days",
            retention.default_days.try_into().unwrap_or(0),
            1..=max_days,
        );
        if writer.write_timeout_ms <= writer.commit_timeout_ms {
            let reason = "must be above writer.commit_timeout_ms, so that a write can wait for the commit and then go to \
                          the stream";
            errors.push(ConfigError::new(
                "writer.write_timeout_ms",
                writer.write_timeout_ms,
                reason,
            ));
        }
        if let (None, Some(start)) = (&self.chain.hmac_key_file, self.chain.hmac_key_start) {
            let reason = "has no effect without chain.hmac_key_file; set both, or neither";
            errors.push(ConfigError::new("chain.hmac_key_start", start, reason));
        }
        if self.rate_limit.requests_per_second == 0 && self.rate_limit.burst > 0 {
            let reason = "has no effect without rate_limit.requests_per_second; set both, or neither";
            errors.push(ConfigError::new(
                "rate_limit.burst",
                self.rate_limit.burst,
                reason,
            ));
        }
    }

    fn check_addresses(&self, errors: &mut Vec<ConfigError>) {
        for (field, address) in [
            ("postgresql.address", &self.postgresql.address),
            ("redis.address", &self.redis.address),
        ] {
            if split_address(address).is_none() {
                errors.push(ConfigError::new(
                    field,
                    address,
                    "write HOST:PORT, such as postgresql:5432",
                ));
            }
        }
        for (field, text) in [
            ("postgresql.database", &self.postgresql.database),
            ("postgresql.user", &self.postgresql.user),
        ] {
            if text.is_empty() {
                errors.push(ConfigError::new(field, "\"\"", "write a name"));
            }
        }
    }

    fn check_targets(&self, errors: &mut Vec<ConfigError>) {
        let targets = &self.transparency.targets;
        if let (Some(first), None) = (targets.first(), &self.transparency.key_file) {
            let reason = "gets no checkpoint without transparency.key_file; set both, or neither";
            errors.push(ConfigError::new("transparency.targets", &first.url, reason));
        }
        for target in targets {
            let is_address = target.url.parse().is_ok_and(|url: Uri| {
                matches!(url.scheme_str(), Some("http" | "https"))
                    && url
                        .authority()
                        .is_some_and(|server| !server.as_str().contains('@'))
            });
            if !is_address {
                let reason = "write http://HOST/PATH or https://HOST/PATH; a token goes to token_file";
                errors.push(ConfigError::new("transparency.targets", &target.url, reason));
            }
        }
    }

    fn check_tls(&self, errors: &mut Vec<ConfigError>) {
        for (name, tls, ca_file) in [
            ("postgresql", self.postgresql.tls, &self.postgresql.ca_file),
            ("redis", self.redis.tls, &self.redis.ca_file),
        ] {
            if tls == Some(Tls::Off) && self.environment == Environment::Production {
                let reason = "must be encrypted in production; write \"verify\", or use another environment";
                errors.push(ConfigError::new(&format!("{name}.tls"), "\"off\"", reason));
            }
            if ca_file.is_some() && !self.tls_is_on(tls) {
                errors.push(ConfigError {
                    field: format!("{name}.ca_file"),
                    value: None,
                    reason: format!("has no effect without {name}.tls = \"verify\"; set both, or neither"),
                });
            }
        }
    }
}

/// Splits `HOST:PORT`; the host of an IPv6 address is returned without brackets.
pub(crate) fn split_address(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some((host, port.parse().ok()?))
}
