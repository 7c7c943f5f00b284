//! A signal: one alert or one event, read and complete, whoever sent it.

use jiff::Timestamp;
use wire::remediation_request::{Severity, SignalType};
use wire::webhook::Labels;

use super::fingerprint::Fingerprint;
use super::target::Target;

/// One problem seen once.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The alert's name or the event's reason.
    pub name: String,
    /// How bad it is.
    pub severity: Severity,
    /// Which kind of sender it came from.
    pub signal_type: SignalType,
    /// The program that sent it.
    pub source: String,
    /// What it is about.
    pub target: Target,
    /// Since when, as the sender says.
    pub firing_time: Timestamp,
    /// When it arrived here.
    pub received_time: Timestamp,
    /// As they came.
    pub labels: Labels,
    /// As they came.
    pub annotations: Labels,
    /// The JSON text that it was read from.
    pub payload: String,
}

impl Signal {
    /// Which problem the signal belongs to, where it alone decides.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of_signal(&self.name, &self.target)
    }
}
