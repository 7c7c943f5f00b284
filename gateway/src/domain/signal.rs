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

impl Signal {
    /// The fingerprint that follows from the signal alone.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_signal(&self.name, &self.target)
    }
}
