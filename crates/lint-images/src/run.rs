//! The run that the options select.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use subprocess::eprint_line;

use crate::date::Date;
use crate::model::{Finding, Level, Rule};
use crate::options::{FailOn, Options};
use crate::output::text::printable;
use crate::output::{self, Format};
use crate::policy::{self, Baseline, Policy};
use crate::sources::{self, Index, Inputs, Store};
use crate::{Report, check, fix, init};

/// Exit code for invalid arguments or an invalid policy.
const USAGE: u8 = 2;

/// Runs the linter.
///
/// # Errors
/// When git fails, or when a file or the output cannot be written.
pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    if let Some(rule) = &options.explain {
        return explain(rule);
    }
    if options.list && !matches!(options.format, Format::Text | Format::Json) {
        eprint_line("--list has the formats text and json");
        return Ok(ExitCode::from(USAGE));
    }
    if options.fix && options.files.iter().any(|file| file.as_os_str() == "-") {
        eprint_line("--fix cannot write stdin: name the files");
        return Ok(ExitCode::from(USAGE));
    }
    let root = root(&options);
    if options.init {
        return init::run(&root, options.policy.as_deref());
    }
    let store = match options.staged {
        true => Store::Index(&root, Index::read(&root).context("cannot read the index of git")?),
        false => Store::WorkTree(&root),
    };
    let Some(path) = options.policy.clone().or_else(|| policy::find(&store)) else {
        eprint_line(
            "no deploy/image-policy.toml or .image-policy.toml found: write one with --init, or use --policy FILE",
        );
        return Ok(ExitCode::from(USAGE));
    };
    let mut policy = match policy::load(&path, &store) {
        Ok(policy) => policy,
        Err(error) => {
            eprint_line(format!("cannot load the policy\n{error}"));
            return Ok(ExitCode::from(USAGE));
        }
    };
    for argument in &options.build_arguments {
        let Some((name, value)) = argument.split_once('=') else {
            eprint_line(format!("invalid --build-arg {argument:?}: write NAME=VALUE"));
            return Ok(ExitCode::from(USAGE));
        };
        policy.build_arguments.insert(name.to_owned(), value.to_owned());
    }
    let baseline = options.baseline.clone().or_else(|| policy.baseline_file.clone());
    if options.update_baseline {
        return update_baseline(&options, &policy, &store, baseline);
    }
    if let Some(path) = &baseline {
        policy.baseline = match policy::load_baseline(path, &store) {
            Ok(baseline) => baseline,
            Err(error) => {
                eprint_line(format!("cannot load the baseline\n{error}"));
                return Ok(ExitCode::from(USAGE));
            }
        };
    }
    lint(&options, &policy, &store)
}

/// Writes a baseline that accepts all errors.
fn update_baseline(
    options: &Options,
    policy: &Policy,
    store: &Store<'_>,
    path: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let Some(path) = path else {
        eprint_line("no baseline: name one with --baseline FILE, or under [baseline] of the policy");
        return Ok(ExitCode::from(USAGE));
    };
    let today = options.today.unwrap_or_else(Date::today);
    let report = check(Inputs::Tree(store.root()), policy, store, today, true, false);
    let text = Baseline::of(&report.files).unwrap_or_else(Baseline::empty);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    print_skipped(&report, options.quiet);
    eprint_line(format!(
        "wrote {}: {} errors are accepted",
        path.display(),
        report.count(Level::Error)
    ));
    Ok(ExitCode::SUCCESS)
}

fn lint(options: &Options, policy: &Policy, store: &Store<'_>) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let whole_tree = is_whole_tree(options, policy, store.root())?;
    let today = options.today.unwrap_or_else(Date::today);
    let keep_text = options.fix || options.diff || options.format.shows_text();
    let run = || -> anyhow::Result<Report> {
        let inputs = inputs(options, policy, store, whole_tree)?;
        Ok(check(inputs, policy, store, today, whole_tree, keep_text))
    };
    let mut report = run()?;
    if options.list {
        return list(&report, options);
    }
    if options.diff {
        let diffs = report
            .files
            .iter()
            .filter_map(|file| Some(fix::diff(file, &fix::fixed(file)?)));
        print(&diffs.collect::<String>())?;
        return Ok(exit_code(&report, options.fail_on));
    }
    let applied = if options.fix {
        apply_fixes(&report, store.root())
    } else {
        Applied::default()
    };
    if applied.written > 0 {
        report = run()?;
    }
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    print_report(&report, options.format, color)?;
    print_skipped(&report, options.quiet);
    if options.format == Format::Text && !options.quiet {
        print_totals(&report);
    }
    if options.statistics {
        let (files, time, memory) = (
            report.read,
            start.elapsed().as_secs_f64() * 1_000.0,
            peak_memory(),
        );
        eprint_line(format!("statistics: {files} files in {time:.1} ms, {memory}"));
    }
    let code = if applied.failed > 0 {
        ExitCode::from(3)
    } else {
        exit_code(&report, options.fail_on)
    };
    // The process ends here: freeing a hundred thousand strings is a tenth of a large run's time.
    std::mem::forget(report);
    Ok(code)
}

/// Describes the peak memory of this process in MB; only Linux reports it.
fn peak_memory() -> String {
    match subprocess::proc::field("self/status", "VmHWM") {
        Some(bytes) => format!("peak memory {}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        None => "peak memory unknown".to_owned(),
    }
}

/// Returns whether the run is on all files: no file is named, or the policy or its exceptions are among them, as they
/// apply to all files.
fn is_whole_tree(options: &Options, policy: &Policy, root: &Path) -> anyhow::Result<bool> {
    let names = match options.staged {
        true => sources::staged_paths(root).context("cannot list the staged files")?,
        false => options
            .files
            .iter()
            .map(|path| sources::relative(path, root))
            .collect(),
    };
    let own = [&policy.path, &policy.exceptions.path, &policy.baseline.path];
    let is_policy = |name: &String| own.contains(&name);
    Ok(!options.staged && names.is_empty() || names.iter().any(is_policy))
}

fn inputs<'a>(
    options: &Options,
    policy: &Policy,
    store: &'a Store<'_>,
    whole_tree: bool,
) -> anyhow::Result<Inputs<'a>> {
    let inputs = match store {
        Store::Index(root, index) => {
            sources::from_index(root, index, policy, whole_tree).context("cannot read the staged files")?
        }
        Store::WorkTree(root) if whole_tree => return Ok(Inputs::Tree(root)),
        Store::WorkTree(root) => {
            sources::from_arguments(&options.files, root, policy, options.force_exclude)?
        }
    };
    Ok(Inputs::Listed(inputs))
}

/// Returns the repository root: the nearest folder upwards with `.git`, else with a policy, else the current folder.
fn root(options: &Options) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let ancestors = || here.ancestors().map(Path::to_path_buf);
    let has_policy = |folder: &PathBuf| policy::find(&Store::WorkTree(folder)).is_some();
    let with_policy = || ancestors().find(|folder| options.policy.is_none() && has_policy(folder));
    ancestors()
        .find(|folder| folder.join(".git").exists())
        .or_else(with_policy)
        .unwrap_or_else(|| here.clone())
}

/// Outcome of applying edits.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) written: usize,
    pub(crate) failed: usize,
}

/// Applies all fixable edits. A file that cannot be written does not keep the others from being fixed.
pub(crate) fn apply_fixes(report: &Report, root: &Path) -> Applied {
    let mut applied = Applied::default();
    for file in &report.files {
        let Some(text) = fix::fixed(file) else { continue };
        match fix::write(&root.join(&file.path), &text) {
            Ok(()) => {
                applied.written += 1;
                eprint_line(format!("fixed {}", printable(&file.path)));
            }
            Err(error) => {
                applied.failed += 1;
                eprint_line(format!("error: {}", printable(&format!("{error:#}"))));
            }
        }
    }
    applied
}

fn list(report: &Report, options: &Options) -> anyhow::Result<ExitCode> {
    let code = match report.is_unreadable() {
        true => ExitCode::from(3),
        false => ExitCode::SUCCESS,
    };
    if options.format == Format::Json {
        print_report(report, Format::Json, false)?;
        return Ok(code);
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
            let (image, path) = (printable(&image), printable(&file.path));
            let (line, role, kind) = (each.location.line, each.role.name(), each.kind);
            text.push_str(&format!("{image}\t{role}\t{kind}{stage}\t{path}:{line}\n"));
        }
    }
    print(&text)?;
    print_skipped(report, options.quiet);
    Ok(code)
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
            eprint_line(format!("unknown rule {name:?}; rules: {}", known.join(", ")));
            return Ok(ExitCode::from(USAGE));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn exit_code(report: &Report, fail_on: FailOn) -> ExitCode {
    let failing = match fail_on {
        FailOn::Error => report.count(Level::Error),
        FailOn::Warning => report.count(Level::Error) + report.count(Level::Warning),
        FailOn::Never => 0,
    };
    match (report.is_unreadable(), failing) {
        (true, _) => ExitCode::from(3),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(1),
    }
}

/// Prints files and values that were not checked, with reasons; with `quiet`, only those that cannot be read.
pub(crate) fn print_skipped(report: &Report, quiet: bool) {
    for file in &report.files {
        for each in file.skipped.iter().filter(|each| each.unreadable || !quiet) {
            let line = each.line.map(|line| format!(":{line}")).unwrap_or_default();
            eprint_line(format!(
                "skipped: {}{line}: {}",
                printable(&file.path),
                printable(&each.reason)
            ));
        }
    }
}

fn print_totals(report: &Report) {
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let images: usize = report.files.iter().map(|file| file.uses.len()).sum();
    eprint_line(format!(
        "lint-images: {} files, {images} images, {errors} errors, {warnings} warnings{}",
        report.read,
        match report.accepted {
            0 => String::new(),
            count => format!(", {count} in the baseline"),
        }
    ));
    let findings = report.files.iter().flat_map(|file| &file.findings);
    let is_fixable = |finding: &&Finding| finding.edit.as_ref().is_some_and(|edit| edit.certain);
    let fixable = match findings.filter(is_fixable).count() {
        0 => return,
        1 => "1 finding is fixable".to_owned(),
        count => format!("{count} findings are fixable"),
    };
    eprint_line(format!("lint-images: {fixable}: run with --diff or --fix"));
}

fn print_report(report: &Report, format: Format, color: bool) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout());
    let written = output::write(report, format, color, &mut out).and_then(|()| out.flush());
    tolerate_closed(written)
}

fn print(text: &str) -> anyhow::Result<()> {
    tolerate_closed(std::io::stdout().lock().write_all(text.as_bytes()))
}

/// Accepts a closed pipe, such as of `| head`.
fn tolerate_closed(written: std::io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write the output")
        }
        _ => Ok(()),
    }
}
