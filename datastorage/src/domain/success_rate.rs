//! Success rates of remediations: counted from recorded outcomes, with their confidence.
//!
//! An outcome is an event of the category `workflow` or `execution` with the action `completed` or `failed` and the
//! outcome success or failure; its data describes it (`incident_type`, `workflow_id`, `workflow_version`,
//! `action_type`).

use serde::Serialize;
use utoipa::ToSchema;

use super::fields::{Invalid, Reason};
use super::parameters::Parameters;
use super::time::Micros;
use super::time::span;

/// The confidence of a rate, from the number of outcomes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Confidence {
    /// 100 outcomes or more.
    High,
    /// 20 or more.
    Medium,
    /// `min_samples` or more.
    Low,
    /// Fewer than `min_samples`.
    InsufficientData,
}

/// Successes and failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) successes: i64,
    pub(crate) failures: i64,
}

/// A rate with its sample.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Rate {
    /// Number of outcomes.
    pub(crate) total_executions: i64,
    /// Successful outcomes.
    pub(crate) successful_executions: i64,
    /// Failed outcomes.
    pub(crate) failed_executions: i64,
    /// Successes in percent, 0 to 100; null without outcomes.
    pub(crate) success_rate: Option<f64>,
    /// The 95 % interval of it in percent (Wilson's score interval); null without outcomes.
    pub(crate) confidence_interval: Option<Interval>,
    /// Its confidence.
    pub(crate) confidence: Confidence,
    /// Whether there are at least `min_samples` outcomes.
    pub(crate) min_samples_met: bool,
}

/// Bounds in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Interval {
    /// Lower bound.
    pub(crate) lower: f64,
    /// Upper bound.
    pub(crate) upper: f64,
}

impl Rate {
    pub(crate) fn of(counts: Counts, min_samples: i64) -> Self {
        let Counts { successes, failures } = counts;
        let total = successes + failures;
        let confidence = match total {
            total if total < min_samples => Confidence::InsufficientData,
            100.. => Confidence::High,
            20.. => Confidence::Medium,
            _ => Confidence::Low,
        };
        Self {
            total_executions: total,
            successful_executions: successes,
            failed_executions: failures,
            success_rate: (total > 0).then(|| 100.0 * successes as f64 / total as f64),
            confidence_interval: (total > 0).then(|| wilson(successes as f64, total as f64)),
            confidence,
            min_samples_met: total >= min_samples,
        }
    }
}

/// The 95 % score interval: it stays within 0 and 100, and is accurate for few outcomes, where the usual
/// approximation is not.
fn wilson(successes: f64, total: f64) -> Interval {
    const Z: f64 = 1.959_963_984_540_054;
    let share = successes / total;
    let square = Z * Z / total;
    let middle = share + square / 2.0;
    let spread = Z * (share * (1.0 - share) / total + square / (4.0 * total)).sqrt();
    let bound = |value: f64| (100.0 * value / (1.0 + square)).clamp(0.0, 100.0);
    Interval {
        lower: bound(middle - spread),
        upper: bound(middle + spread),
    }
}

/// The outcomes to count.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateRequest {
    pub(crate) incident_type: Option<String>,
    pub(crate) workflow_id: Option<String>,
    pub(crate) workflow_version: Option<String>,
    pub(crate) action_type: Option<String>,
    pub(crate) since: Micros,
    pub(crate) until: Micros,
    /// As requested.
    pub(crate) time_range: String,
    pub(crate) min_samples: i64,
}

/// The dimension of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    IncidentType,
    Workflow,
    Several,
}

impl RateRequest {
    pub(crate) fn read(
        pairs: Vec<(String, String)>,
        dimension: Dimension,
        now: Micros,
    ) -> Result<Self, Vec<Invalid>> {
        let mut parameters = Parameters::new(pairs);
        let mut take = |name: &str, allowed: bool| if allowed { parameters.text(name, 255) } else { None };
        let by_workflow = dimension != Dimension::IncidentType;
        let incident_type = take("incident_type", dimension != Dimension::Workflow);
        let workflow_id = take("workflow_id", by_workflow);
        let workflow_version = take("workflow_version", by_workflow);
        let action_type = take("action_type", dimension == Dimension::Several);
        let time_range = parameters
            .text("time_range", 20)
            .unwrap_or_else(|| "7d".to_owned());
        let span = span(&time_range)
            .filter(|span| *span > 0)
            .and_then(|span| now.0.checked_sub(span))
            .filter(|since| Micros(*since).is_representable());
        if span.is_none() {
            parameters.reject(
                "time_range",
                Reason::Format,
                "must be a time span such as 1h, 24h, 7d, 30d",
            );
        }
        let min_samples = parameters.integer("min_samples", 1, 1_000_000).unwrap_or(5);
        let required = match dimension {
            Dimension::IncidentType => incident_type.is_none().then_some("incident_type"),
            Dimension::Workflow => workflow_id.is_none().then_some("workflow_id"),
            Dimension::Several => {
                let any = incident_type.is_some() || workflow_id.is_some() || action_type.is_some();
                (!any).then_some("incident_type")
            }
        };
        if let Some(field) = required {
            let message = match dimension {
                Dimension::Several => "is required, or workflow_id, or action_type",
                _ => "is required",
            };
            parameters.reject(field, Reason::Required, message);
        }
        if workflow_version.is_some() && workflow_id.is_none() {
            parameters.reject("workflow_version", Reason::Required, "requires workflow_id");
        }
        parameters.finish()?;
        Ok(Self {
            incident_type,
            workflow_id,
            workflow_version,
            action_type,
            since: Micros(span.unwrap_or(now.0)),
            until: now,
            time_range,
            min_samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(successes: i64, failures: i64) -> Rate {
        Rate::of(Counts { successes, failures }, 5)
    }

    #[test]
    fn confidence_follows_from_the_number_of_outcomes() {
        assert_eq!(rate(0, 0).success_rate, None);
        assert_eq!(rate(0, 0).confidence, Confidence::InsufficientData);
        assert_eq!(rate(4, 0).confidence, Confidence::InsufficientData);
        assert_eq!(rate(5, 0).confidence, Confidence::Low);
        assert_eq!(rate(15, 5).confidence, Confidence::Medium);
        assert_eq!(
            (rate(75, 25).confidence, rate(75, 25).success_rate),
            (Confidence::High, Some(75.0))
        );
    }

    #[test]
    fn interval_is_wilsons() {
        // Published values: 8 of 10 → 0.4902..0.9433; 0 of 10 → 0..0.2775.
        let Interval { lower, upper } = rate(8, 2).confidence_interval.unwrap();
        assert!(
            (lower - 49.02).abs() < 0.01 && (upper - 94.33).abs() < 0.01,
            "{lower} {upper}"
        );
        let Interval { lower, upper } = rate(0, 10).confidence_interval.unwrap();
        assert!(lower == 0.0 && (upper - 27.75).abs() < 0.01, "{lower} {upper}");
    }

    #[test]
    fn required_dimensions_must_be_present() {
        let wrong = |pairs: &[(&str, &str)], dimension| -> Vec<String> {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            match RateRequest::read(pairs, dimension, Micros(10)) {
                Ok(_) => Vec::new(),
                Err(invalid) => invalid.into_iter().map(|invalid| invalid.field).collect(),
            }
        };
        assert_eq!(wrong(&[], Dimension::IncidentType), ["incident_type"]);
        assert_eq!(
            wrong(&[("workflow_version", "1")], Dimension::Workflow),
            ["workflow_id", "workflow_version"]
        );
        assert_eq!(
            wrong(&[("action_type", "restart")], Dimension::Several),
            Vec::<String>::new()
        );
        let pairs = [
            ("incident_type", "oom"),
            ("time_range", "soon"),
            ("min_samples", "0"),
            ("workflow_id", "x"),
        ];
        assert_eq!(
            wrong(&pairs, Dimension::IncidentType),
            ["time_range", "min_samples", "workflow_id"]
        );
    }
}
