//! Record of the measurements in `target/bench/e2e/PROVIDER/`: the report of each run as `WHAT-N.json`, and other
//! figures in `seconds.json`.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context;
use report::Machine;

use super::{ORDERS, run::Measured};

/// Runs of the warm loop.
pub(super) const WARM: &str = "warm";

/// Time from the command to the first scenario.
pub(super) const FIRST_SCENARIO: &str = "first scenario";
/// Duration of a verb that does next to nothing.
pub(super) const VERB: &str = "verb";
/// Duration of a build of the runner in an empty target folder.
pub(super) const BUILD: &str = "build";

const SECONDS: &str = "seconds.json";

pub(super) struct Record {
    folder: PathBuf,
    runs: BTreeMap<&'static str, Vec<Measured>>,
    seconds: BTreeMap<String, Vec<f64>>,
}

impl Record {
    /// Opens the record in a folder, without earlier measurements unless `resume`.
    pub(super) fn open(folder: &Path, resume: bool) -> anyhow::Result<Self> {
        if !resume && let Err(error) = fs::remove_dir_all(folder) {
            let is_new = error.kind() == ErrorKind::NotFound;
            (if is_new { Ok(()) } else { Err(error) })
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut record = Self {
            folder: folder.to_owned(),
            runs: BTreeMap::new(),
            seconds: BTreeMap::new(),
        };
        for what in ORDERS.into_iter().chain([WARM]) {
            while let Some(report) = read(&record.path(what))? {
                let run = Measured::read(&report).with_context(|| record.path(what).display().to_string())?;
                record.runs.entry(what).or_default().push(run);
            }
        }
        if let Some(text) = read(&folder.join(SECONDS))? {
            record.seconds =
                serde_json::from_slice(&text).with_context(|| format!("cannot read {SECONDS}"))?;
        }
        Ok(record)
    }

    /// Returns the path of the next report of a kind.
    fn path(&self, what: &str) -> PathBuf {
        let number = self.runs(what).len() + 1;
        self.folder.join(format!("{what}-{number}.json"))
    }

    pub(super) fn runs(&self, what: &str) -> &[Measured] {
        self.runs.get(what).map_or(&[], Vec::as_slice)
    }

    pub(super) fn seconds(&self, what: &str) -> &[f64] {
        self.seconds.get(what).map_or(&[], Vec::as_slice)
    }

    pub(super) fn machine(&self) -> Option<&Machine> {
        self.runs
            .values()
            .flatten()
            .map(|run| &run.document.machine)
            .next()
    }

    /// Seconds until the scenarios started, of each run.
    pub(super) fn up(&self, what: &str) -> Vec<f64> {
        self.runs(what).iter().map(|run| run.up).collect()
    }

    pub(super) fn add_run(&mut self, what: &'static str, run: Measured) -> anyhow::Result<()> {
        subprocess::write_atomically(&self.path(what), &serde_json::to_vec(&run.document)?)?;
        self.runs.entry(what).or_default().push(run);
        Ok(())
    }

    pub(super) fn add_seconds(&mut self, what: &str, seconds: f64) -> anyhow::Result<()> {
        self.seconds.entry(what.to_owned()).or_default().push(seconds);
        subprocess::write_atomically(
            &self.folder.join(SECONDS),
            &serde_json::to_vec_pretty(&self.seconds)?,
        )?;
        Ok(())
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("can't read {}", path.display())),
    }
}
