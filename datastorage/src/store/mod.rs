//! PostgreSQL and the Redis stream: where events are kept.

pub(crate) mod append;
pub(crate) mod database;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod migrations;
pub(crate) mod notifications;
pub(crate) mod partitions;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod types;
