//! Metrics of the transparency log and of verification.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    target: String,
}

/// Metrics of the transparency log and of verification.
#[derive(Debug, Default)]
pub(crate) struct LogMetrics {
    size: Gauge,
    checkpoint_size: Gauge,
    target_size: Family<Target, Gauge>,
    inconsistent: Gauge,
    verified_events: Counter,
    verification_errors: Gauge,
    verification_timestamp: Gauge,
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl LogMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, gauge) in [
            (
                "datastorage_transparency_log_size",
                "Leaves of the transparency log",
                &self.size,
            ),
            (
                "datastorage_checkpoint_size",
                "Leaves of the last published checkpoint",
                &self.checkpoint_size,
            ),
            (
                "datastorage_transparency_log_inconsistent",
                "1 if the transparency log is not an extension of the last published checkpoint",
                &self.inconsistent,
            ),
            (
                "datastorage_verification_errors",
                "Errors that the last verification of the whole database found",
                &self.verification_errors,
            ),
            (
                "datastorage_verification_timestamp_seconds",
                "End of the last verification of the whole database, in seconds since 1970",
                &self.verification_timestamp,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "datastorage_checkpoint_target_size",
            "Leaves of the last checkpoint that a target has; 0 before the first one",
            self.target_size.clone(),
        );
        registry.register(
            "datastorage_verified_events",
            "Events that verifications of the whole database have read",
            self.verified_events.clone(),
        );
    }

    /// Records the size of the log.
    pub(crate) fn size(&self, leaves: u64) {
        self.size.set(count(leaves));
    }

    /// Records a published checkpoint.
    pub(crate) fn checkpoint(&self, leaves: u64) {
        self.checkpoint_size.set(count(leaves));
    }

    /// Records the checkpoint that a target has.
    pub(crate) fn delivered(&self, target: &str, leaves: u64) {
        let target = target.to_owned();
        self.target_size
            .get_or_create(&Target { target })
            .set(count(leaves));
    }

    /// Records whether the log differs from what was published.
    pub(crate) fn inconsistent(&self, inconsistent: bool) {
        self.inconsistent.set(inconsistent.into());
    }

    /// Records a verification of the whole database that ended now.
    pub(crate) fn verified(&self, events: u64, errors: u64) {
        self.verified_events.inc_by(events);
        self.verification_errors.set(count(errors));
        self.verification_timestamp
            .set(jiff::Timestamp::now().as_second());
    }
}
