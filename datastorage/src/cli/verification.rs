//! `datastorage verify` and `datastorage verify-export`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use service::exit::{self, ExitError};
use tlog::VerifierKey;

use super::{Source, runtime};
use crate::checkpoints;
use crate::config::Secrets;
use crate::domain::export;
use crate::store::database::{self, SessionError};
use crate::verify::{self, Scope};

#[derive(clap::Args)]
pub(super) struct Database {
    #[command(flatten)]
    source: Source,
    /// Checkpoint that was published outside of the database; repeat for more
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Public key of the checkpoints (GET /api/v1/audit/log/key); default: that of transparency.key_file
    #[arg(long, value_name = "KEY")]
    key: Option<VerifierKey>,
    /// Verify the whole log, but only the chain of this correlation; repeat for more
    #[arg(long = "correlation-id", value_name = "ID")]
    correlation_ids: Vec<String>,
    /// Concurrent connections to the database; default: the number of processors
    #[arg(long, value_name = "NUMBER")]
    workers: Option<usize>,
    /// File that keeps how far an interrupted verification came; the next one goes on from there
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
}

impl Database {
    pub(super) fn run(self) -> Result<(), ExitError> {
        let (config, secrets) = self.source.load()?;
        let mut trust = secrets.trust();
        trust.log = self.key.or(trust.log);
        let mut checkpoints = Vec::new();
        for file in &self.checkpoints {
            let key = trust.log.as_ref().ok_or_else(|| {
                ExitError::usage(anyhow!(
                    "pass the public key of the checkpoints by --key: transparency.key_file is not set"
                ))
            })?;
            let read = std::fs::read(file).map_err(anyhow::Error::from);
            let checkpoint = read.and_then(|note| Ok(checkpoints::open(&note, key)?));
            let usage = |error| ExitError::usage(anyhow!("checkpoint {}: {error}", file.display()));
            checkpoints.push(checkpoint.map_err(usage)?);
        }
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let scope = Scope {
            trust: Arc::new(trust),
            checkpoints,
            correlation_ids: self.correlation_ids,
            workers: self.workers.unwrap_or(processors),
            max_rate: None,
            progress: self.progress,
        };
        let database = database::Database::new(&config, &secrets)?;
        let verified = runtime()?
            .block_on(verify::verify(&database, &scope))
            .map_err(|error| match error.is::<SessionError>() {
                true => ExitError::environment(anyhow!(
                    "{error} (postgresql.address = {})",
                    config.postgresql.address
                )),
                false => ExitError::from(error.context("cannot verify the database")),
            })?;
        if verified.errors.is_empty() {
            return exit::print(&format!(
                "{} events of {} chains verify; the log has {} leaves and matches {} checkpoints\n",
                verified.events,
                verified.chains,
                verified.leaves,
                scope.checkpoints.len()
            ));
        }
        Err(ExitError::failed(anyhow!(
            "the database does not verify:\n  {}",
            verified.errors.join("\n  ")
        )))
    }
}

#[derive(clap::Args)]
pub(super) struct Export {
    /// Configuration file with the keys; not needed with --key
    #[arg(long, value_name = "FILE", required_unless_present = "key")]
    config: Option<PathBuf>,
    /// Public key of the log (GET /api/v1/audit/log/key); default: that of transparency.key_file
    #[arg(long, value_name = "KEY")]
    key: Option<VerifierKey>,
    /// Export to verify; standard input if absent
    file: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(self) -> Result<(), ExitError> {
        let secrets = match self.config {
            Some(config) => Source { config }.load()?.1,
            None => Secrets::default(),
        };
        let mut trust = secrets.trust();
        trust.log = self.key.or(trust.log);
        let input: Box<dyn Read> =
            match &self.file {
                Some(path) => {
                    let file = File::open(path);
                    Box::new(file.map_err(|error| {
                        ExitError::usage(anyhow!("cannot read {}: {error}", path.display()))
                    })?)
                }
                None => Box::new(std::io::stdin()),
            };
        let checked = export::check(BufReader::new(input), &trust).map_err(ExitError::usage)?;
        if checked.error_count == 0 {
            return exit::print(&format!("{checked}\n"));
        }
        Err(ExitError::failed(anyhow!(
            "the export does not verify, {} errors:\n  {}",
            checked.error_count,
            checked.errors.join("\n  ")
        )))
    }
}
