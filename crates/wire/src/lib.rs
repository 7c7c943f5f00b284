//! What crosses the network: audit events, problem details, webhook payloads, the RemediationRequest type.

pub mod audit;
pub mod problem;
pub mod remediation_request;
pub mod webhook;
