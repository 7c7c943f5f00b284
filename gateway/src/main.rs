//! The Gateway service.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use gateway::config::Config;

/// Takes signals and makes exactly one active RemediationRequest of each problem.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve until told to end.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// The configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Print the configuration with all defaults, and end.
    #[arg(long)]
    print_config: bool,
}

fn main() -> ExitCode {
    let Arguments {
        verb: Verb::Serve(serve),
    } = Arguments::parse();
    match start(&serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gateway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(serve: &Serve) -> anyhow::Result<()> {
    let config: Config = service::config::load(&serve.config, "GATEWAY")?;
    if serve.print_config {
        write!(std::io::stdout(), "{}", toml::to_string_pretty(&config)?)?;
        return Ok(());
    }
    service::logging::start(&config.log.filter)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(gateway::run::serve(config))
}
