//! Audit events: made of what became of a signal, kept on disk before the signal is answered, and delivered to
//! DataStorage until it took them.

pub mod delivery;
pub mod events;
pub mod segment;
pub mod spool;
