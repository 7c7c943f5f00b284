//! Record of the measured parts, kept in the target folder so that parts can be measured one at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Part;
use crate::figures::{self, Figure};
use crate::workspace;

/// All measured parts.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) parts: BTreeMap<Part, Measured>,
}

/// A measured part.
#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    /// Date of the measurement.
    pub(super) day: String,
    pub(super) machine: String,
    /// Version of PostgreSQL.
    pub(super) postgresql: String,
    /// Arguments of the command.
    pub(super) command: String,
    pub(super) figures: Vec<Figure>,
    pub(super) latencies: Vec<Latency>,
    pub(super) curve: Vec<Point>,
}

/// Point of a curve: position on the horizontal axis, values of the service, values of the reference.
pub(super) type Point = (f64, Vec<f64>, Vec<f64>);

#[derive(Serialize, Deserialize)]
pub(super) struct Latency {
    pub(super) name: String,
    pub(super) load: Load,
}

/// Output of the load program.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) per_second: f64,
    /// Broken connections and undocumented responses.
    pub(super) failed: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Load {
    /// Checks that every request succeeded: without a fault nothing may be rejected or spilled.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let good = self.statuses.keys().all(|status| matches!(status, 200 | 201));
        ensure!(
            good && self.failed == 0,
            "not every request succeeded: statuses {:?}, {} failed",
            self.statuses,
            self.failed
        );
        Ok(())
    }
}

impl Record {
    fn path() -> PathBuf {
        workspace::target().join("bench/datastorage.json")
    }

    /// Reads the record of earlier measurements; empty without one.
    pub(super) fn load() -> anyhow::Result<Self> {
        let path = Self::path();
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read(&path)?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "cannot read {}: written by another version; delete it and measure again",
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

    /// Output of `--format json`.
    pub(super) fn document(&self) -> serde_json::Value {
        let machine = self.parts.values().next().map(|part| part.machine.clone());
        let figures = self.parts.values().flat_map(|part| &part.figures);
        figures::document("datastorage", &json!({"description": machine}), figures)
    }
}
