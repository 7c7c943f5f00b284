//! Keeps the audit trail of every service: writes that are never lost, queries that stay fast, and a history that
//! proves that it was not altered. docs/datastorage.md is the manual.
//!
//! ```sh
//! datastorage migrate --config datastorage.toml
//! datastorage serve --config datastorage.toml
//! ```

mod auditor;
mod availability;
mod checkpoint_targets;
mod checkpoints;
mod cli;
mod config;
mod dead_letters;
mod domain;
mod drain;
mod group;
mod http;
mod integrator;
mod metrics;
mod monitor;
mod retention;
mod serve;
mod spiller;
mod store;
mod verify;
mod writer;

pub use cli::main;
