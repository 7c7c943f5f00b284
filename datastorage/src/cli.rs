//! The command line.

mod verification;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service::config::ConfigError;
use service::exit::{self, ExitError};
use tlog::{Algorithm, SignerKey};

use crate::config::{self, Config, Secrets};
use crate::dead_letters::{self, Action};
use crate::serve;
use crate::store::database::Database;
use crate::store::migrations::{self, State};
use crate::store::stream::{Kind, Streams};

/// Keep the audit trail of every service
///
/// Exit codes: 0 success, 1 a check failed, 2 usage or configuration, 3 the environment does not allow it.
#[derive(Parser)]
#[command(name = "datastorage", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until SIGTERM
    Serve {
        #[command(flatten)]
        source: Source,
        /// Print the effective configuration with the meaning of each key, and exit
        #[arg(long)]
        print_config: bool,
    },
    /// Migrate the database's schema to this program's version; safe to repeat and to run concurrently
    Migrate {
        #[command(flatten)]
        source: Source,
        /// Only check: exit with 1 if the schema has another version
        #[arg(long)]
        check: bool,
    },
    #[command(name = "dlq")]
    /// List, retry or drop dead-lettered entries; prints one JSON object per line: kind, id, reason, attempts, body
    DeadLetters {
        #[command(subcommand)]
        action: DeadLetterCommand,
    },
    /// Verify the whole database, and its transparency log against published checkpoints; exit with 1 if it was altered
    Verify(verification::Database),
    /// Print a new private key for transparency.key_file
    LogKey {
        /// Name of the log, such as example.com/audit: the origin of its checkpoints
        name: String,
    },
    /// Verify an export (GET /api/v1/audit/export) without a database; exit with 1 if it is invalid
    VerifyExport(verification::Export),
}

#[derive(Subcommand)]
enum DeadLetterCommand {
    /// List dead letters
    List {
        #[command(flatten)]
        letters: Letters,
    },
    /// Return dead letters to their stream, after the cause was removed
    Retry {
        #[command(flatten)]
        letters: Letters,
    },
    /// Delete dead letters permanently
    Drop {
        #[command(flatten)]
        letters: Letters,
    },
}

/// A selection of dead letters.
#[derive(clap::Args)]
struct Letters {
    #[command(flatten)]
    source: Source,
    /// Only those of events or of notifications
    #[arg(long, value_enum)]
    kind: Option<LetterKind>,
    /// Ids; all if there is none. `drop` requires ids or --all
    ids: Vec<String>,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LetterKind {
    Events,
    Notifications,
}

#[derive(clap::Args)]
struct Source {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the program.
pub fn main() -> ExitCode {
    exit::report("datastorage", run(Cli::parse()))
}

fn run(cli: Cli) -> Result<(), ExitError> {
    match cli.command {
        Command::Serve { source, print_config } => {
            let (config, secrets) = source.load()?;
            if print_config {
                return exit::print(&service::config::print(&config, config::PREFIX)?);
            }
            service::logging::start(&config.log.filter).map_err(ExitError::usage)?;
            runtime()?.block_on(serve::serve(config, secrets))?;
            Ok(())
        }
        Command::Migrate { source, check } => {
            let (config, secrets) = source.load()?;
            runtime()?.block_on(migrate(&config, &secrets, check))
        }
        Command::DeadLetters { action } => {
            let (action, letters) = match action {
                DeadLetterCommand::List { letters } => (Action::List, letters),
                DeadLetterCommand::Retry { letters } => (Action::Retry, letters),
                DeadLetterCommand::Drop { letters } => (Action::Drop, letters),
            };
            dead_letters(action, &letters)
        }
        Command::Verify(arguments) => arguments.run(),
        Command::LogKey { name } => {
            let key = SignerKey::generate(&name, Algorithm::Ed25519).map_err(ExitError::usage)?;
            exit::print(&format!("{}\n", key.to_secret_text()))
        }
        Command::VerifyExport(arguments) => arguments.run(),
    }
}

impl Source {
    /// The configuration and its secrets, completely validated.
    fn load(&self) -> Result<(Config, Secrets), ExitError> {
        let config: Config = service::config::load(&self.config, config::PREFIX).map_err(ExitError::usage)?;
        let secrets = Secrets::read(&config).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
            ExitError::usage(anyhow::anyhow!(
                "configuration {}:\n  {}",
                self.config.display(),
                errors.join("\n  ")
            ))
        })?;
        Ok((config, secrets))
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One provider of cryptography for all that speaks TLS here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn migrate(config: &Config, secrets: &Secrets, check: bool) -> Result<(), ExitError> {
    let mut session = Database::new(config, secrets)?.session().await.map_err(|error| {
        ExitError::environment(anyhow::anyhow!(
            "{error} (postgresql.address = {})",
            config.postgresql.address
        ))
    })?;
    if check {
        return match migrations::state(&session.client).await? {
            State::Current => Ok(()),
            State::Behind(missing) => Err(ExitError::failed(anyhow::anyhow!(
                "not applied: {}; run `datastorage migrate`",
                missing.join(", ")
            ))),
            State::Unknown(versions) => Err(ExitError::failed(anyhow::anyhow!(
                "the database has versions unknown here: {}",
                versions.join(", ")
            ))),
        };
    }
    let applied = migrations::migrate(&mut session.client).await?;
    for migration in &applied {
        eprintln!("applied {migration}");
    }
    eprintln!("the schema is at version {}", migrations::latest());
    Ok(())
}

fn dead_letters(action: Action, letters: &Letters) -> Result<(), ExitError> {
    use std::io::Write as _;
    let Letters {
        source,
        kind,
        ids,
        all,
    } = letters;
    if action == Action::Drop && ids.is_empty() && !all {
        return Err(ExitError::usage(anyhow::anyhow!(
            "pass the ids of the dead letters to drop, or --all"
        )));
    }
    let (config, secrets) = source.load()?;
    let kinds = match kind {
        Some(LetterKind::Events) => vec![Kind::Events],
        Some(LetterKind::Notifications) => vec![Kind::Notifications],
        None => Kind::ALL.to_vec(),
    };
    let count = runtime()?.block_on(async {
        let streams = Streams::new(&config, &secrets)?;
        let print = |line: &str| Ok(writeln!(std::io::stdout(), "{line}")?);
        dead_letters::run(&streams, action, &kinds, ids, print).await
    })?;
    eprintln!("{count} dead letters");
    Ok(())
}
