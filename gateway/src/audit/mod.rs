//! Audit events: created from the result of a signal, stored on disk before the signal is acknowledged, and delivered
//! to DataStorage.

pub mod delivery;
pub mod events;
pub mod rejected;
pub mod segment;
pub mod spool;
pub mod trail;
