//! The rules of the audit trail: events, validation, hashes of chains. No I/O.

pub(crate) mod canonical;
pub(crate) mod chain;
pub(crate) mod decimal;
pub(crate) mod event;
pub(crate) mod export;
pub(crate) mod fields;
pub(crate) mod log;
pub(crate) mod members;
pub(crate) mod notification;
pub(crate) mod parameters;
pub(crate) mod query;
pub(crate) mod stored;
pub(crate) mod success_rate;
pub(crate) mod time;
pub(crate) mod tree;
pub(crate) mod trust;
pub(crate) mod verification;
pub(crate) mod workflow;
