//! What the Gateway decides, without I/O: what a signal is, which problem it belongs to, whether it is fresh, what the
//! request of a problem looks like, and which request a signal is a duplicate of.

pub mod alertmanager;
pub mod event;
pub mod fingerprint;
pub mod freshness;
pub mod index;
pub mod read;
pub mod request;
pub mod signal;
pub mod target;
