//! `cargo xtask merge-reports --output DIR FOLDER...`: one report of several runs that each did a part of the scenarios.

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

/// How deep below a folder reports are looked for: CI systems put each artifact into a folder of its own.
const DEEPEST: usize = 3;

/// Merge the reports of the shards of one whole into one: report.json, junit.xml, report.html
///
/// Each shard is a run of `cargo xtask e2e --shard I/N`, on a machine of its own or beside the others. A shard that
/// left no report fails the merged one. The exit code is that of the whole: 0 all passed, 1 scenarios failed,
/// 2 these are not the shards of one whole, 3 a shard failed or is missing.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The runs' folders, or folders that have them somewhere inside
    #[arg(value_name = "FOLDER", required = true)]
    folders: Vec<PathBuf>,
    /// Where the merged report goes, with the logs that it links
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options { folders, output } = options;
    let mut runs = Vec::new();
    for folder in &folders {
        let before = runs.len();
        find(folder, DEEPEST, &output, &mut runs);
        ensure!(
            runs.len() > before,
            "there is no {} in {} or the folders in it",
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
    let merged = match report::merge(parts.clone(), &id, std::env::args().collect()) {
        Ok(merged) => merged,
        Err(error) => {
            eprint_line(format!("error: {error:#}"));
            return Ok(ExitCode::from(2));
        }
    };
    for (run, part) in runs.iter().zip(&parts) {
        copy_logs(&run.join("logs"), &output.join(&part.folder).join("logs"))?;
    }
    fs::create_dir_all(&output).with_context(|| format!("can't make {}", output.display()))?;
    report::write_all(&merged, &output)?;
    eprint_line(report::summary(&merged).trim_end());
    eprint_line(format!("report: {}", output.join(FILES.page).display()));
    Ok(e2e::exit_code(merged.run.result))
}

/// The folders with a report, in `folder` or below it; the one that is written is none of them.
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
    let text = fs::read(&file).with_context(|| format!("can't read {}", file.display()))?;
    let document: Document =
        serde_json::from_slice(&text).with_context(|| format!("{} is no report", file.display()))?;
    let folder = document.run.id.clone();
    Ok(Part { document, folder })
}

fn copy_logs(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        fs::create_dir_all(to).with_context(|| format!("can't make {}", to.display()))?;
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).with_context(|| format!("can't copy {}", entry.path().display()))?;
    }
    Ok(())
}
