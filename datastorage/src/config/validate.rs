//! What the types of the configuration let through.

use std::ops::RangeInclusive;

use service::config::{Mistake, Validate};

use super::{Config, Environment, Tls};

impl Validate for Config {
    fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        self.check_ranges(&mut mistakes);
        self.check_addresses(&mut mistakes);
        self.check_tls(&mut mistakes);
        if self.auth.enabled == Some(false) && self.environment == Environment::Production {
            let reason =
                "callers must be authenticated in production; remove the key, or name another environment";
            mistakes.push(Mistake::new("auth.enabled", false, reason));
        }
        mistakes
    }
}

impl Config {
    fn check_ranges(&self, mistakes: &mut Vec<Mistake>) {
        let sizes: [(&str, u64, RangeInclusive<u64>); 19] = [
            ("http.announce_ms", self.http.announce_ms, 0..=20_000),
            ("http.drain_seconds", self.http.drain_seconds, 1..=25),
            ("postgresql.pool_size", self.postgresql.pool_size as u64, 1..=500),
            (
                "postgresql.connect_timeout_ms",
                self.postgresql.connect_timeout_ms,
                100..=60_000,
            ),
            (
                "postgresql.pool_wait_ms",
                self.postgresql.pool_wait_ms,
                10..=60_000,
            ),
            (
                "postgresql.statement_timeout_ms",
                self.postgresql.statement_timeout_ms,
                100..=600_000,
            ),
            (
                "postgresql.lock_timeout_ms",
                self.postgresql.lock_timeout_ms,
                10..=600_000,
            ),
            (
                "redis.connect_timeout_ms",
                self.redis.connect_timeout_ms,
                50..=60_000,
            ),
            (
                "redis.response_timeout_ms",
                self.redis.response_timeout_ms,
                50..=60_000,
            ),
            ("writer.committers", self.writer.committers as u64, 1..=32),
            ("writer.group_events", self.writer.group_events as u64, 1..=5_000),
            ("writer.queue_mib", self.writer.queue_mib as u64, 8..=4_096),
            (
                "writer.commit_timeout_ms",
                self.writer.commit_timeout_ms,
                500..=60_000,
            ),
            ("stream.most_entries", self.stream.most_entries, 1..=100_000_000),
            (
                "stream.drain_interval_ms",
                self.stream.drain_interval_ms,
                10..=60_000,
            ),
            ("stream.drain_group", self.stream.drain_group as u64, 1..=5_000),
            ("stream.most_tries", u64::from(self.stream.most_tries), 1..=1_000),
            ("query.exports", self.query.exports as u64, 1..=100),
            (
                "retention.interval_seconds",
                self.retention.interval_seconds,
                1..=86_400,
            ),
        ];
        for (field, value, allowed) in sizes {
            if !allowed.contains(&value) {
                let reason = format!("write a number from {} to {}", allowed.start(), allowed.end());
                mistakes.push(Mistake::new(field, value, reason));
            }
        }
        if !(1..=crate::domain::event::MOST_RETENTION_DAYS).contains(&self.retention.default_days) {
            let reason = "write a number of days from 1 to 2555";
            mistakes.push(Mistake::new(
                "retention.default_days",
                self.retention.default_days,
                reason,
            ));
        }
        if !(1..=10_000_000).contains(&self.query.count_limit) {
            mistakes.push(Mistake::new(
                "query.count_limit",
                self.query.count_limit,
                "write a number from 1 to 10000000",
            ));
        }
        if self.rate_limit.requests_per_second == 0 && self.rate_limit.burst > 0 {
            let reason = "has no effect without rate_limit.requests_per_second; set both, or neither";
            mistakes.push(Mistake::new("rate_limit.burst", self.rate_limit.burst, reason));
        }
    }

    fn check_addresses(&self, mistakes: &mut Vec<Mistake>) {
        for (field, address) in [
            ("postgresql.address", &self.postgresql.address),
            ("redis.address", &self.redis.address),
        ] {
            if split_address(address).is_none() {
                mistakes.push(Mistake::new(
                    field,
                    address,
                    "write HOST:PORT, such as postgresql:5432",
                ));
            }
        }
        for (field, text) in [
            ("postgresql.database", &self.postgresql.database),
            ("postgresql.user", &self.postgresql.user),
            ("auth.namespace", &self.auth.namespace),
            ("auth.service", &self.auth.service),
        ] {
            if text.is_empty() {
                mistakes.push(Mistake::new(field, "\"\"", "write a name"));
            }
        }
        let http = &self.http;
        for (field, address, other, other_address) in [
            ("http.health", http.health, "http.api", http.api),
            ("http.metrics", http.metrics, "http.api", http.api),
            ("http.metrics", http.metrics, "http.health", http.health),
        ] {
            if address == other_address && address.port() != 0 {
                mistakes.push(Mistake::new(
                    field,
                    address,
                    format!("is {other} too; give each its own port"),
                ));
            }
        }
    }

    fn check_tls(&self, mistakes: &mut Vec<Mistake>) {
        for (name, tls, ca_file) in [
            ("postgresql", self.postgresql.tls, &self.postgresql.ca_file),
            ("redis", self.redis.tls, &self.redis.ca_file),
        ] {
            if tls == Some(Tls::Off) && self.environment == Environment::Production {
                let reason = "must be encrypted in production; write \"verify\", or name another environment";
                mistakes.push(Mistake::new(&format!("{name}.tls"), "\"off\"", reason));
            }
            if ca_file.is_some() && !self.tls_is_on(tls) {
                mistakes.push(Mistake {
                    field: format!("{name}.ca_file"),
                    value: None,
                    reason: format!("has no effect without {name}.tls = \"verify\"; set both, or neither"),
                });
            }
        }
    }
}

/// Host and port of `HOST:PORT`; the host of an IPv6 address without its brackets.
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
