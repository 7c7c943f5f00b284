//! The Gateway: takes signals, and makes exactly one active RemediationRequest of each problem.
//!
//! [`domain`] decides and does no I/O; [`cluster`] and [`audit`] do it; [`deduplicate`] and [`gateway`] bring them
//! together; [`http`] is what senders see; [`run`] starts and ends it all.

pub mod audit;
mod cause;
pub mod cluster;
pub mod config;
pub mod deduplicate;
pub mod domain;
pub mod gateway;
pub mod http;
pub mod metrics;
pub mod run;
