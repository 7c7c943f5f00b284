//! PostgreSQL and the Redis stream: the stores of events.

pub(crate) mod append;
pub(crate) mod chains;
pub(crate) mod database;
pub(crate) mod erasure;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod failure;
pub(crate) mod holds;
pub(crate) mod log;
pub(crate) mod migrations;
pub(crate) mod notifications;
pub(crate) mod partitions;
pub(crate) mod retention;
pub(crate) mod stream;
pub(crate) mod success_rates;
pub(crate) mod tls;
pub(crate) mod types;
pub(crate) mod workflows;
