//! The options, and what is done with them.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use clap::Args;

use subprocess::eprint_line;

use crate::date::Date;
use crate::model::{File, Level, Rule};
use crate::output::{self, Format};
use crate::policy::{self, Policy};
use crate::sources::{self, Inputs};
use crate::{Report, fix, init, judge};

/// Checks images against the registry policy
///
/// Reads Dockerfiles, Kubernetes manifests, kustomizations, compose files, CI workflows and stack files. Exit codes:
/// 0 fine, 1 findings, 2 usage or policy, 3 unreadable input. docs/lint-images.md is the manual.
#[derive(Debug, Args)]
pub struct Options {
    /// Files and folders to check; without any, the whole repository
    files: Vec<PathBuf>,

    /// Check what is staged in git: the index, not the work tree
    #[arg(long, conflicts_with = "files")]
    staged: bool,

    /// Leave files out that the policy excludes, even where they are named
    ///
    /// For hooks and editors, which name all that changed.
    #[arg(long)]
    force_exclude: bool,

    /// The policy [default: deploy/image-policy.toml, else .image-policy.toml, of the repository]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// The form of the answer
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Make the edits that have one answer
    #[arg(long, conflicts_with_all = ["staged", "list"])]
    fix: bool,

    /// Show the edits that --fix would make, as a diff
    #[arg(long, conflicts_with_all = ["fix", "list"])]
    diff: bool,

    /// Print every image with its role and place
    #[arg(long)]
    list: bool,

    /// Print what a rule asks, with examples; without a name, the list of rules
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "")]
    explain: Option<String>,

    /// Write a starting policy from the images that the repository uses
    #[arg(long, conflicts_with_all = ["files", "staged", "fix", "diff", "list"])]
    init: bool,

    /// A value for an ARG, as the build would be given it (repeatable)
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    build_arguments: Vec<String>,

    /// Say on stderr what the run cost
    #[arg(long)]
    statistics: bool,

    /// Judge review dates as of this day [default: today]
    #[arg(long, value_name = "DATE", value_parser = parse_date)]
    today: Option<String>,
}

fn parse_date(text: &str) -> Result<String, String> {
    text.parse::<Date>().map(|date| date.to_string())
}

/// A mistake in how the program was called, or in a policy.
const USAGE: u8 = 2;

/// Runs the linter.
///
/// # Errors
/// What the environment does not allow: git that fails, a file that can't be written.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(rule) = &options.explain {
        return explain(rule);
    }
    let root = root(&options);
    if options.init {
        return init::run(&root, options.policy.as_deref());
    }
    let Some(path) = options.policy.clone().or_else(|| policy::find(&root)) else {
        eprint_line(
            "no policy: there is neither deploy/image-policy.toml nor .image-policy.toml. Write one with --init, or name one with --policy FILE",
        );
        return Ok(ExitCode::from(USAGE));
    };
    let mut policy = match policy::load(&path, &root) {
        Ok(policy) => policy,
        Err(error) => {
            eprint_line(format!("the policy can't be used\n{error}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    for argument in &options.build_arguments {
        let Some((name, value)) = argument.split_once('=') else {
            eprint_line(format!("--build-arg {argument} has no value: write NAME=VALUE"));
            return Ok(ExitCode::from(USAGE));
        };
        policy.build_arguments.insert(name.to_owned(), value.to_owned());
    }
    lint(&options, &policy, &root)
}

fn lint(options: &Options, policy: &Policy, root: &Path) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let whole_tree = !options.staged && options.files.is_empty();
    let inputs = inputs(options, policy, root)?;
    let today = options
        .today
        .as_deref()
        .and_then(|date| date.parse().ok())
        .unwrap_or_else(Date::today);
    let keep_text = options.fix || options.diff || options.format.shows_text();
    let mut report = judge(inputs, policy, today, whole_tree, keep_text);
    if options.list {
        return list(&report, options.format);
    }
    if options.diff {
        let diffs = report
            .files
            .iter()
            .filter_map(|file| Some(fix::diff(file, &fix::fixed(file)?)));
        print(&diffs.collect::<String>())?;
        return Ok(exit_code(&report));
    }
    if options.fix && make_fixes(&report, root)? {
        report = judge(
            self::inputs(options, policy, root)?,
            policy,
            today,
            whole_tree,
            keep_text,
        );
    }
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    show(&report, options.format, colour)?;
    narrate(&report, options.format);
    if options.statistics {
        let (files, time, memory) = (
            report.read,
            start.elapsed().as_secs_f64() * 1_000.0,
            peak_memory(),
        );
        eprint_line(format!("statistics: {files} files in {time:.1} ms, {memory}"));
    }
    let code = exit_code(&report);
    // The process ends here: giving a hundred thousand texts back one by one is a tenth of a large run.
    std::mem::forget(report);
    Ok(code)
}

/// The most memory that this process had, where the system says it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes: Option<u32> = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    });
    match kilobytes {
        Some(kilobytes) => format!("{:.1} MB of memory at most", f64::from(kilobytes) / 1_000.0),
        None => "memory not known here".to_owned(),
    }
}

fn inputs<'a>(options: &Options, policy: &Policy, root: &'a Path) -> anyhow::Result<Inputs<'a>> {
    match (options.staged, options.files.is_empty()) {
        (true, _) => {
            let staged = sources::from_index(root, policy).context("can't read what is staged")?;
            Ok(Inputs::Listed(staged))
        }
        (false, true) => Ok(Inputs::Tree(root)),
        (false, false) => {
            let mut inputs = sources::from_arguments(&options.files, root, policy);
            inputs.retain(|input| !(options.force_exclude && policy.excluded.is_match(&input.path)));
            Ok(Inputs::Listed(inputs))
        }
    }
}

/// The repository's root: the nearest folder from here upwards with `.git`, else the nearest with a policy, else here.
fn root(options: &Options) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let ancestors = || here.ancestors().map(Path::to_path_buf);
    let with_policy =
        || ancestors().find(|folder| options.policy.is_none() && policy::find(folder).is_some());
    ancestors()
        .find(|folder| folder.join(".git").exists())
        .or_else(with_policy)
        .unwrap_or_else(|| here.clone())
}

/// Makes all certain edits; whether there were any.
fn make_fixes(report: &Report, root: &Path) -> anyhow::Result<bool> {
    let fixed: Vec<(&File, String)> = report
        .files
        .iter()
        .filter_map(|file| Some((file, fix::fixed(file)?)))
        .collect();
    for (file, text) in &fixed {
        fix::write(&root.join(&file.path), text)?;
        eprint_line(format!("fixed {}", file.path));
    }
    Ok(!fixed.is_empty())
}

fn list(report: &Report, format: Format) -> anyhow::Result<ExitCode> {
    if format == Format::Json {
        show(report, Format::Json, false)?;
        return Ok(if report.is_unreadable() {
            ExitCode::from(3)
        } else {
            ExitCode::SUCCESS
        });
    }
    let mut text = String::new();
    for file in &report.files {
        for each in &file.uses {
            let image = match &each.image {
                Ok(image) => image.to_string(),
                Err(reason) => format!("{} ({})", each.raw, reason.reason()),
            };
            let stage = each
                .stage
                .as_ref()
                .map(|stage| format!(" {stage}"))
                .unwrap_or_default();
            let (path, line, role, kind) = (&file.path, each.place.line, each.role.name(), each.kind);
            text.push_str(&format!("{image}\t{role}\t{kind}{stage}\t{path}:{line}\n"));
        }
    }
    print(&text)?;
    narrate(report, Format::Json);
    Ok(if report.is_unreadable() {
        ExitCode::from(3)
    } else {
        ExitCode::SUCCESS
    })
}

fn explain(name: &str) -> anyhow::Result<ExitCode> {
    if name.is_empty() {
        let lines: String = Rule::ALL
            .iter()
            .map(|rule| format!("{:<16}{}\n", rule.id(), rule.summary()))
            .collect();
        print(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    match Rule::from_id(name) {
        Some(rule) => print(rule.page())?,
        None => {
            let known: Vec<_> = Rule::ALL.iter().map(|rule| rule.id()).collect();
            eprint_line(format!("there is no rule {name:?}; rules: {}", known.join(", ")));
            return Ok(ExitCode::from(USAGE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(report: &Report) -> ExitCode {
    match (report.is_unreadable(), report.count(Level::Error)) {
        (true, _) => ExitCode::from(3),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(1),
    }
}

/// What could not be judged, and the sum.
fn narrate(report: &Report, format: Format) {
    for file in &report.files {
        for each in &file.not_judged {
            let line = each.line.map(|line| format!(":{line}")).unwrap_or_default();
            eprint_line(format!("not judged: {}{line}: {}", file.path, each.reason));
        }
    }
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    if format == Format::Text {
        let images: usize = report.files.iter().map(|file| file.uses.len()).sum();
        eprint_line(format!(
            "lint-images: {} files, {images} images, {errors} errors, {warnings} warnings",
            report.read
        ));
        if report.files.iter().any(|file| fix::fixed(file).is_some()) {
            eprint_line("lint-images: some have one answer: --diff shows the edits, --fix makes them");
        }
    }
}

fn show(report: &Report, format: Format, colour: bool) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let written = output::write(report, format, colour, &mut out).and_then(|()| out.flush());
    tolerate_closed(written)
}

fn print(text: &str) -> anyhow::Result<()> {
    tolerate_closed(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// Data goes to stdout. A reader that has seen enough (`| head`) is no error.
fn tolerate_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("can't write the answer")
        }
        _ => Ok(()),
    }
}
