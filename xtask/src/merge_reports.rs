//! `cargo xtask merge-reports --output DIR FOLDER...`: merges the reports of the shards of one run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use clap::Args;
use report::{Document, FILES, Part};

use crate::e2e;
use subprocess::eprint_line;

/// Maximum depth of reports below a given folder: CI systems put each artifact into its own folder.
const MAX_DEPTH: usize = 3;

/// Merge the reports of all shards into one report.json, junit.xml and report.html
///
/// Each shard is a run of `cargo xtask e2e --shard I/N`. A shard without a report fails the merged one. Exit codes: 0 all
/// passed, 1 scenarios failed, 2 the reports are not shards of one run, 3 a shard failed or is missing.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Folders of the runs, or folders that contain them
    #[arg(value_name = "FOLDER", required = true)]
    folders: Vec<PathBuf>,
    /// Folder for the merged report and its logs
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { folders, output } = options;
    let mut runs = Vec::new();
    for folder in &folders {
        let before = runs.len();
        find(folder, MAX_DEPTH, &output, &mut runs);
        ensure!(
            runs.len() > before,
            "found no {} in {} or its subfolders",
            FILES.report,
            folder.display()
        );
    }
    runs.sort();
    runs.dedup();
    let mut parts = Vec::new();
    for run in &runs {
        parts.push(read(run)?);
    }
    let id = output
        .file_name()
        .map_or_else(|| "merged".into(), |name| name.to_string_lossy());
    let merged = match report::merge(parts.clone(), &id, crate::command_line()) {
        Ok(merged) => merged,
        Err(error) => {
            eprint_line(format!("error: {error:#}"));
            return Ok(ExitCode::from(2));
        }
    };
    for (run, part) in runs.iter().zip(&parts) {
        copy_logs(&run.join("logs"), &output.join(&part.folder).join("logs"))?;
    }
    fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    report::write_all(&merged, &output)?;
    eprint_line(report::summary(&merged).trim_end());
    eprint_line(format!("report: {}", output.join(FILES.page).display()));
    Ok(e2e::exit_code(merged.run.result))
}

/// Finds the folders with a report in `folder` and below it, except `output`.
fn find(folder: &Path, depth: usize, output: &Path, found: &mut Vec<PathBuf>) {
    let same = |one: &Path, other: &Path| {
        fs::canonicalize(one)
            .ok()
            .is_some_and(|one| fs::canonicalize(other).ok() == Some(one))
    };
    if same(folder, output) {
        return;
    }
    if folder.join(FILES.report).is_file() {
        found.push(folder.to_owned());
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), depth - 1, output, found);
        }
    }
}

fn read(run: &Path) -> anyhow::Result<Part> {
    let file = run.join(FILES.report);
    let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let document: Document = serde_json::from_slice(&text)
        .with_context(|| format!("cannot parse {} as a report", file.display()))?;
    let folder = document.run.id.clone();
    Ok(Part { document, folder })
}

fn copy_logs(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).with_context(|| format!("cannot copy {}", entry.path().display()))?;
    }
    Ok(())
}
