//! Runs scenarios in parallel where the components that they use allow it, and reports the results.

pub(crate) mod context;
pub(crate) mod control;
mod failure;
pub(crate) mod part;
pub(crate) mod readiness;
pub(crate) mod report;
pub(crate) mod runner;
pub(crate) mod scenario;
mod schedule;
pub(crate) mod selection;

pub(crate) use failure::silence_panics;
