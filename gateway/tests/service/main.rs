//! The Gateway's program against a Kubernetes API over HTTP: what its senders, its operators and the audit trail see.

// The attributes tell clippy that helpers in these modules are tests, too.
#[cfg(test)]
mod access;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod stack;
#[cfg(test)]
mod storms;
