//! The end-to-end scenarios: given only URLs, they run against any deployment.
//!
//! `test-e2e list` shows them; `test-e2e run --stack FILE` runs them. Exit codes: 0 every scenario that can run passed,
//! 1 a scenario failed, 2 usage, 3 the deployment does not respond, 130 interrupted. How to write one: docs/scenarios.md.
//!
//! ```sh
//! test-e2e run --stack stack.json g01
//! ```

mod cluster;
mod datastorage;
mod gateway;
mod harness;
mod http;
mod instance;
mod load;
mod metrics;
mod scenarios;
mod sql;
mod stack;
mod wait;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use harness::report::{Format, Report};
use harness::runner::{self, Ran};
use harness::selection::{Shard, select};
use stack::Stack;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Run end-to-end scenarios against a deployment
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// List all scenarios with the components that they hold
    List(ListOptions),
    /// Run scenarios against a deployment
    Run(RunOptions),
}

#[derive(Args)]
struct ListOptions {
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Args)]
struct RunOptions {
    /// Stack file with the deployment's URLs
    #[arg(long, value_name = "FILE")]
    stack: PathBuf,
    /// Run only scenarios whose name contains one of these
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
    /// Run only shard I of N
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Maximum number of parallel scenarios; they mostly wait
    #[arg(long, value_name = "N", default_value_t = default_jobs())]
    jobs: usize,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn default_jobs() -> usize {
    4 * thread::available_parallelism().map_or(1, usize::from)
}

#[tokio::main]
async fn main() -> ExitCode {
    let code = match Cli::parse().verb {
        Verb::List(options) => scenarios::list(&mut io::stdout().lock(), options.format).map(|()| 0),
        Verb::Run(options) => run(options).await,
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(ENVIRONMENT)
        }
    }
}

async fn run(options: RunOptions) -> Result<u8> {
    let RunOptions {
        stack,
        filters,
        shard,
        jobs,
        format,
    } = options;
    let table = scenarios::table();
    let usage = Stack::read(&stack).and_then(|stack| Ok((stack, select(&table, &filters, shard)?)));
    let (stack, selected) = match usage {
        Ok(usage) => usage,
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(USAGE);
        }
    };
    harness::readiness::services_respond(&stack).await?;
    harness::silence_panics();
    let mut report = Report::new(io::stdout(), format);
    let Ran { counts, interrupted } =
        runner::run(stack, selected, jobs, &mut report, interruption()?).await?;
    Ok(match (interrupted, counts.failed) {
        (true, _) => INTERRUPTED,
        (false, 0) => 0,
        (false, _) => FAILED,
    })
}

/// Becomes true at the first SIGINT or SIGTERM.
fn interruption() -> Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        sender.send_replace(true);
        // The sender lives until the run ends: a receiver without a sender would look interrupted.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
