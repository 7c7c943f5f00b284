//! A private PostgreSQL, Redis and Kubernetes API for one test or one run.

mod folders;

pub use folders::user_cache;
