//! The Gateway service.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use gateway::audit::rejected::{Folder, Listed};
use gateway::config::{Config, PREFIX};
use gateway::explain::Explanation;
use service::exit::{self, ExitError};

/// Receive signals and create exactly one active RemediationRequest per incident
///
/// Exit codes: 0 success, 1 an event was not found or a signal is rejected, 2 usage or configuration, 3 the environment does not allow it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve until SIGTERM or SIGINT
    Serve(Serve),
    /// Print what would become of each alert of a webhook, or of an event, and why, without a cluster
    Explain(Explain),
    /// List, send again or drop the audit events that DataStorage rejected
    #[command(subcommand)]
    Events(Events),
}

#[derive(Subcommand)]
enum Events {
    /// List the rejected events: id, type, request, time of the rejection and reason, oldest first
    List(Source),
    /// Send rejected events again; the running Gateway takes them within a second
    Retry(Selection),
    /// Delete rejected events
    Drop(Selection),
}

#[derive(Args)]
struct Source {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Args)]
#[group(skip)]
struct Selection {
    #[command(flatten)]
    source: Source,
    /// Event ids
    #[arg(value_name = "ID", required_unless_present = "all")]
    ids: Vec<String>,
    /// All rejected events
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Args)]
struct Serve {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print the effective configuration with the meaning of each key, and exit
    #[arg(long)]
    print_config: bool,
}

#[derive(Args)]
struct Explain {
    /// Body of a webhook or an event, JSON; - for standard input
    #[arg(value_name = "FILE")]
    payload: PathBuf,
    /// Configuration file, TOML; without it the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// When the payload arrives, RFC 3339; without it now
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
}

fn main() -> ExitCode {
    let Arguments { verb } = Arguments::parse();
    let result = match verb {
        Verb::Serve(serve) => start(&serve),
        Verb::Explain(arguments) => explain(&arguments),
        Verb::Events(Events::List(source)) => list(&source),
        Verb::Events(Events::Retry(selection)) => select(&selection, "sent again", Folder::retry),
        Verb::Events(Events::Drop(selection)) => select(&selection, "dropped", Folder::remove),
    };
    exit::report("gateway", result)
}

fn load(config: &Path) -> Result<Config, ExitError> {
    service::config::load(config, PREFIX).map_err(ExitError::usage)
}

fn explain(arguments: &Explain) -> Result<(), ExitError> {
    let Explain { payload, config, at } = arguments;
    let config = match config {
        Some(config) => load(config)?,
        None => Config::default(),
    };
    let body = match payload.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()).map(String::into_bytes),
        false => std::fs::read(payload),
    };
    let body = body.with_context(|| format!("cannot read {}", payload.display()));
    let body = body.map_err(ExitError::environment)?;
    let now = at.unwrap_or_else(jiff::Timestamp::now);
    let Explanation { text, rejected } = gateway::explain::explain(&body, &config, now);
    exit::print(&text)?;
    match rejected {
        0 => Ok(()),
        count => Err(ExitError::failed(anyhow::anyhow!("{count} rejected"))),
    }
}

fn list(source: &Source) -> Result<(), ExitError> {
    let folder = Folder::new(&load(&source.config)?.spool.directory);
    let mut lines = String::new();
    for (id, entry) in folder.list().map_err(ExitError::environment)? {
        let Listed {
            event_type,
            correlation_id,
            ..
        } = serde_json::from_str(entry.event.get()).unwrap_or_default();
        let (time, detail) = (entry.rejected_at, entry.detail.replace(['\n', '\t'], " "));
        lines += &format!("{id}\t{event_type}\t{correlation_id}\t{time}\t{detail}\n");
    }
    exit::print(&lines)
}

/// Applies `action` to the selected events. Events that do not exist are reported after the others are processed.
fn select(
    selection: &Selection,
    done: &str,
    action: fn(&Folder, &str) -> std::io::Result<bool>,
) -> Result<(), ExitError> {
    let folder = Folder::new(&load(&selection.source.config)?.spool.directory);
    let ids = if selection.all {
        let entries = folder.list().map_err(ExitError::environment)?;
        entries.into_iter().map(|(id, _)| id).collect()
    } else {
        selection.ids.clone()
    };
    let (mut number, mut missing) = (0, Vec::new());
    for id in ids {
        if action(&folder, &id).map_err(ExitError::environment)? {
            number += 1;
        } else {
            missing.push(id);
        }
    }
    exit::print(&format!("{number} events {done}\n"))?;
    if missing.is_empty() || selection.all {
        return Ok(());
    }
    let missing = missing.join(", ");
    Err(ExitError::failed(anyhow::anyhow!(
        "no rejected event has the id {missing}"
    )))
}

fn start(serve: &Serve) -> Result<(), ExitError> {
    let config = load(&serve.config)?;
    if serve.print_config {
        return exit::print(&service::config::print(&config, PREFIX)?);
    }
    service::logging::start(&config.log.filter).map_err(ExitError::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ExitError::environment)?;
    Ok(runtime.block_on(gateway::run::serve(config))?)
}
