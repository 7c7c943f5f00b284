//! The Gateway's rules, without I/O: what a signal is, which incident it belongs to, whether it is fresh, what its
//! request looks like, and which request a signal is a duplicate of.

pub mod alertmanager;
pub mod event;
pub mod fingerprint;
pub mod freshness;
pub mod index;
pub mod read;
pub mod request;
pub mod rules;
pub mod signal;
pub mod stored;
pub mod target;
