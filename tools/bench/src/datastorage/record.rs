//! What was measured, kept between runs so that parts can be measured one at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::Part;
use crate::workspace;

/// All parts that were measured.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) parts: BTreeMap<Part, Measured>,
}

/// A part.
#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    /// The day.
    pub(super) day: String,
    pub(super) machine: String,
    /// PostgreSQL's version.
    pub(super) postgresql: String,
    /// The command without the runner's own name.
    pub(super) command: String,
    pub(super) figures: Vec<Figure>,
    pub(super) latencies: Vec<Latency>,
    /// Number on the horizontal axis, the service's figures, the limit's figures.
    pub(super) curve: Vec<(f64, Vec<f64>, Vec<f64>)>,
}

/// A figure with what is wanted of it; where it is a ratio, with both sides.
#[derive(Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) target: Option<Target>,
    /// Of each round.
    pub(super) runs: Vec<f64>,
    /// Of each round: the service, and what it is compared with.
    pub(super) sides: Option<(Vec<f64>, Vec<f64>)>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) name: String,
    pub(super) load: Load,
}

/// What the load program says.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) per_second: f64,
    /// Broken connections, and answers that are none of the design's.
    pub(super) failed: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Load {
    /// Where nothing is broken, nothing may be refused or queued.
    pub(super) fn all_good(&self) -> anyhow::Result<()> {
        let good = self.statuses.keys().all(|status| matches!(status, 200 | 201));
        ensure!(
            good && self.failed == 0,
            "not every request was answered well: {:?}, {} failed",
            self.statuses,
            self.failed
        );
        Ok(())
    }
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, unit: &str, target: Option<Target>, runs: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit: unit.to_owned(),
            target,
            runs,
            sides: None,
        }
    }

    /// The service's figure against the limit's, round by round.
    pub(super) fn ratio(
        name: impl Into<String>,
        target: Option<Target>,
        service: &[f64],
        limit: &[f64],
    ) -> Self {
        let runs = service
            .iter()
            .zip(limit)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        Self {
            sides: Some((service.to_vec(), limit.to_vec())),
            ..Self::new(name, "ratio", target, runs)
        }
    }

    pub(super) fn value(&self) -> f64 {
        median(&self.runs)
    }

    pub(super) fn holds(&self) -> Option<bool> {
        let value = self.value();
        self.target.map(|target| match target {
            Target::AtLeast(limit) => value >= limit,
            Target::AtMost(limit) => value <= limit,
            Target::Below(limit) => value < limit,
        })
    }
}

impl Target {
    pub(super) fn shown(self) -> String {
        match self {
            Self::AtLeast(limit) => format!("≥ {limit}"),
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::Below(limit) => format!("< {limit}"),
        }
    }
}

/// The middle value; of an even number the upper of the two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Record {
    fn path() -> PathBuf {
        workspace::target().join("bench/datastorage.json")
    }

    /// What earlier runs left, nothing if there were none.
    pub(super) fn load() -> anyhow::Result<Self> {
        let path = Self::path();
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(&path)?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "{} is not what this version writes; delete it, and measure again",
                path.display()
            )
        })
    }

    pub(super) fn save(&self) -> anyhow::Result<()> {
        let path = Self::path();
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// As `--format json` shows it.
    pub(super) fn document(&self) -> serde_json::Value {
        let figures: Vec<_> = self
            .parts
            .values()
            .flat_map(|part| &part.figures)
            .map(|figure| {
                serde_json::json!({
                    "name": figure.name, "value": figure.value(), "unit": figure.unit,
                    "target": figure.target.map(Target::shown), "holds": figure.holds(), "runs": figure.runs,
                })
            })
            .collect();
        let machine = self.parts.values().next().map(|part| part.machine.clone());
        serde_json::json!({"bench": "datastorage", "machine": {"description": machine}, "figures": figures})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_its_rounds_and_is_held_against_its_target() {
        let figure = Figure::ratio(
            "x",
            Some(Target::AtLeast(1.0)),
            &[90.0, 300.0, 120.0],
            &[100.0; 3],
        );
        assert_eq!((figure.value(), figure.holds()), (1.2, Some(true)));
        let figure = Figure::new("x", "ms", Some(Target::Below(10.0)), vec![10.0]);
        assert_eq!(figure.holds(), Some(false));
        assert_eq!(Figure::new("x", "ms", None, vec![1.0]).holds(), None);
    }
}
