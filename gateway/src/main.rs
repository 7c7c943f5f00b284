//! The Gateway service.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway::config::{Config, PREFIX};
use service::exit::{self, ExitError};

/// Receive signals and create exactly one active RemediationRequest per incident
///
/// Exit codes: 0 success, 2 usage or configuration, 3 the environment does not allow it.
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

fn main() -> ExitCode {
    let Arguments {
        verb: Verb::Serve(serve),
    } = Arguments::parse();
    exit::report("gateway", start(&serve))
}

fn start(serve: &Serve) -> Result<(), ExitError> {
    let config: Config = service::config::load(&serve.config, PREFIX).map_err(ExitError::usage)?;
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
