//! Command-line options.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::date::Date;
use crate::output::Format;

/// Check every image that a repository builds on or runs against its registry policy
///
/// Reads Dockerfiles, Kubernetes resources, kustomizations, Helm values, compose files, CI pipelines and stack files. Exit codes:
/// 0 no errors, 1 errors found, 2 usage or policy, 3 unreadable input. Manual: docs/lint-images.md.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// Files and folders to check; - reads rendered YAML or JSON from stdin [default: the whole repository]
    pub(crate) files: Vec<PathBuf>,

    /// Check the files staged in git: the index, not the work tree
    #[arg(long, conflicts_with = "files")]
    pub(crate) staged: bool,

    /// Skip named files that a run on the whole repository would not read
    ///
    /// For hooks and editors, which name every changed file.
    #[arg(long)]
    pub(crate) force_exclude: bool,

    /// Policy file [default: deploy/image-policy.toml or .image-policy.toml of the repository]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,

    /// Lowest level of findings that fail the run
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "error")]
    pub(crate) fail_on: FailOn,

    /// Print findings and unreadable inputs only: no skipped templates, no totals
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Apply the edits that keep what is built
    #[arg(long, conflicts_with_all = ["staged", "list"])]
    pub(crate) fix: bool,

    /// Print the edits of --fix as a diff
    #[arg(long, conflicts_with_all = ["fix", "list"])]
    pub(crate) diff: bool,

    /// Print every image with its role and location
    #[arg(long)]
    pub(crate) list: bool,

    /// Print a rule's page with examples; without RULE, list the rules
    #[arg(long, value_name = "RULE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) explain: Option<String>,

    /// Accept the findings in this file: only others fail [default: the policy's, if it names one]
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,

    /// Write all errors of the repository to the baseline
    #[arg(long, conflicts_with_all = ["files", "staged", "fix", "diff", "list"])]
    pub(crate) update_baseline: bool,

    /// Write an initial policy from the images that the repository uses, and a baseline for the rest
    #[arg(long, conflicts_with_all = ["files", "staged", "fix", "diff", "list"])]
    pub(crate) init: bool,

    /// Set an ARG of the Dockerfiles, as for the build (repeatable)
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub(crate) build_arguments: Vec<String>,

    /// Print time and peak memory of the run on stderr
    #[arg(long)]
    pub(crate) statistics: bool,

    /// Compare review dates with this date [default: today]
    #[arg(long, value_name = "DATE")]
    pub(crate) today: Option<Date>,
}

/// Lowest level of findings that fail a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Errors fail the run.
    Error,
    /// Errors and warnings fail the run.
    Warning,
    /// Findings do not fail the run, as for a report.
    Never,
}
