//! The Gateway: receives signals, and creates exactly one active RemediationRequest per incident.
//!
//! [`domain`] has the rules without I/O; [`cluster`] and [`audit`] do the I/O; [`deduplicate`] and [`gateway`]
//! combine them; [`http`] is the API; [`run`] starts and stops the service.
//!
//! ```sh
//! gateway serve --config gateway.toml
//! ```

pub mod audit;
mod cause;
pub mod cluster;
pub mod config;
pub mod deduplicate;
pub mod domain;
pub mod explain;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod run;
pub mod unresolved;
