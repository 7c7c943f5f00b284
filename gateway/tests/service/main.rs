//! The Gateway's program against a Kubernetes API over HTTP: responses, operations and audit trail.

// The attributes mark helpers in these modules as tests for clippy.
#[cfg(test)]
mod access;
mod alerts;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod edge;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod redelivery;
#[cfg(test)]
mod stack;
#[cfg(test)]
mod storms;
