//! A signal: one alert or one event, parsed and complete, independent of its sender.

use jiff::Timestamp;
use wire::remediation_request::{Severity, SignalType};
use wire::webhook::Labels;

use super::fingerprint::Fingerprint;
use super::target::Target;

/// One occurrence of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The alert's name or the event's reason.
    pub name: String,
    /// Severity.
    pub severity: Severity,
    /// The type of its sender.
    pub signal_type: SignalType,
    /// The program that sent it.
    pub source: String,
    /// The object that it is about.
    pub target: Target,
    /// What distinguishes it from others of the same name and target.
    pub distinction: Distinction,
    /// When it began, according to the sender.
    pub firing_time: Timestamp,
    /// When it arrived here.
    pub received_time: Timestamp,
    /// As received, within the bounds of [`super::stored`].
    pub labels: Labels,
    /// As received, within the same bounds.
    pub annotations: Labels,
    /// The JSON text from which it was parsed; none if it is too long to be stored.
    pub payload: Option<String>,
    /// Fields of the request's spec that do not have all that was received.
    pub truncated: Vec<&'static str>,
}

/// What distinguishes incidents of the same name and target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distinction {
    /// The cluster, unless it is known to be the Gateway's own.
    pub cluster: Option<String>,
    /// Whether the cluster is known to be another one, so that its objects are not in this one.
    pub elsewhere: bool,
    /// The digest of all identifying labels of a signal without a target.
    pub labels: Option<[u8; 32]>,
}

impl Signal {
    /// The fingerprint that follows from the signal alone.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_signal(&self.name, &self.target).distinguished(&self.distinction)
    }
}
