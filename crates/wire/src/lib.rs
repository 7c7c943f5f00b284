//! What crosses the network: audit events, problem details, webhook payloads, the RemediationRequest type.

pub mod problem;
