//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use service::config::Mistake;

use crate::config::{self, Config, Secrets};
use crate::dead_letters::{self, Action};
use crate::domain::proof::{self, Checked};
use crate::serve;
use crate::store::database::Database;
use crate::store::migrations::{self, State};
use crate::store::stream::{Kind, Streams};

/// Keeps the audit trail of every service.
#[derive(Parser)]
#[command(name = "datastorage", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API until SIGTERM.
    Serve {
        #[command(flatten)]
        source: Source,
        /// Print the configuration in force, each key with its meaning, and end.
        #[arg(long)]
        print_config: bool,
    },
    /// Bring the database's schema to this program's version. Safe to run again, and beside another.
    Migrate {
        #[command(flatten)]
        source: Source,
        /// Change nothing; fail (exit 1) if the schema is not this program's.
        #[arg(long)]
        check: bool,
    },
    /// Deal with entries that could not be stored. Prints one JSON object a line: kind, id, reason, tries, body.
    Dlq {
        #[command(subcommand)]
        action: DlqCommand,
    },
    /// Verify an export (GET /api/v1/audit/export) without a database; fails (exit 1) if anything does not fit.
    VerifyExport {
        #[command(flatten)]
        source: Source,
        /// The export; standard input if absent.
        file: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum DlqCommand {
    /// List them.
    List {
        #[command(flatten)]
        letters: Letters,
    },
    /// Put them back into their stream: what was in their way is gone.
    Retry {
        #[command(flatten)]
        letters: Letters,
    },
    /// Delete them for good.
    Drop {
        #[command(flatten)]
        letters: Letters,
    },
}

/// Which dead letters.
#[derive(clap::Args)]
struct Letters {
    #[command(flatten)]
    source: Source,
    /// Only those of events or of notifications.
    #[arg(long, value_enum)]
    kind: Option<LetterKind>,
    /// Their ids; all if there is none. `drop` needs them, or --all.
    ids: Vec<String>,
    /// All of them.
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
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// What went wrong, as an exit code tells it: 1 failed, 2 usage or configuration, 3 the environment.
struct Failed {
    code: u8,
    error: anyhow::Error,
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 3, error }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, error }) => {
            // Standard error is narration; the logger may not be up yet.
            eprintln!("datastorage: {error:#}");
            ExitCode::from(code)
        }
    }
}

fn run(cli: Cli) -> Result<(), Failed> {
    match cli.command {
        Command::Serve { source, print_config } => {
            let (config, secrets) = source.load()?;
            if print_config {
                return print(&config::print(&config)?);
            }
            service::logging::start(&config.log.filter).map_err(usage)?;
            runtime()?.block_on(serve::serve(config, secrets))?;
            Ok(())
        }
        Command::Migrate { source, check } => {
            let (config, secrets) = source.load()?;
            runtime()?.block_on(migrate(&config, &secrets, check))
        }
        Command::Dlq { action } => {
            let (action, letters) = match action {
                DlqCommand::List { letters } => (Action::List, letters),
                DlqCommand::Retry { letters } => (Action::Retry, letters),
                DlqCommand::Drop { letters } => (Action::Drop, letters),
            };
            dlq(action, &letters)
        }
        Command::VerifyExport { source, file } => verify_export(&source, file),
    }
}

impl Source {
    /// The configuration and the secrets that it names, checked whole.
    fn load(&self) -> Result<(Config, Secrets), Failed> {
        let config: Config =
            service::config::load(&self.config, config::PREFIX).map_err(|error| usage(error.into()))?;
        let secrets = Secrets::read(&config).map_err(|mistakes| {
            let told: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
            usage(anyhow::anyhow!(
                "configuration {}:\n  {}",
                self.config.display(),
                told.join("\n  ")
            ))
        })?;
        Ok((config, secrets))
    }
}

fn usage(error: anyhow::Error) -> Failed {
    Failed { code: 2, error }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One provider of cryptography for all that speaks TLS here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn print(text: &str) -> Result<(), Failed> {
    use std::io::Write as _;
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failed {
            code: 3,
            error: error.into(),
        })
}

async fn migrate(config: &Config, secrets: &Secrets, check: bool) -> Result<(), Failed> {
    let mut session = Database::new(config, secrets)?
        .session()
        .await
        .map_err(|error| Failed {
            code: 3,
            error: anyhow::anyhow!("{error} (postgresql.address = {})", config.postgresql.address),
        })?;
    if check {
        return match migrations::state(&session.client).await? {
            State::Current => Ok(()),
            State::Behind(missing) => Err(Failed {
                code: 1,
                error: anyhow::anyhow!("not applied: {}; run `datastorage migrate`", missing.join(", ")),
            }),
            State::Unknown(versions) => Err(Failed {
                code: 1,
                error: anyhow::anyhow!("the database has versions unknown here: {}", versions.join(", ")),
            }),
        };
    }
    let applied = migrations::migrate(&mut session.client).await?;
    for migration in &applied {
        eprintln!("applied {migration}");
    }
    eprintln!("the schema is at version {}", migrations::latest());
    Ok(())
}

fn dlq(action: Action, letters: &Letters) -> Result<(), Failed> {
    let Letters {
        source,
        kind,
        ids,
        all,
    } = letters;
    if action == Action::Drop && ids.is_empty() && !all {
        return Err(usage(anyhow::anyhow!(
            "name the ids of the dead letters to drop, or write --all"
        )));
    }
    let (config, secrets) = source.load()?;
    let kinds = match kind {
        Some(LetterKind::Events) => vec![Kind::Events],
        Some(LetterKind::Notifications) => vec![Kind::Notifications],
        None => Kind::ALL.to_vec(),
    };
    let lines = runtime()?.block_on(async {
        let streams = Streams::new(&config, &secrets)?;
        dead_letters::run(&streams, action, &kinds, ids).await
    })?;
    print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    eprintln!("{} dead letters", lines.len());
    Ok(())
}

fn verify_export(source: &Source, file: Option<PathBuf>) -> Result<(), Failed> {
    use std::io::{BufReader, Read};
    let (_, secrets) = source.load()?;
    let input: Box<dyn Read> = match &file {
        Some(path) => {
            let file = std::fs::File::open(path);
            Box::new(
                file.map_err(|error| usage(anyhow::anyhow!("{} can't be read: {error}", path.display())))?,
            )
        }
        None => Box::new(std::io::stdin()),
    };
    let checked =
        proof::check(BufReader::new(input), &secrets.chain_keys).map_err(|error| usage(error.into()))?;
    let Checked {
        events,
        chains,
        mistakes,
    } = checked;
    if mistakes.is_empty() {
        return print(&format!("{events} events of {chains} chains verify\n"));
    }
    Err(Failed {
        code: 1,
        error: anyhow::anyhow!(
            "{} of {events} events or more do not verify:\n  {}",
            mistakes.len(),
            mistakes.join("\n  ")
        ),
    })
}
