//! Signs the state of the transparency log, and publishes it outside of the database.
//!
//! A checkpoint is signed only if the tree extends the last published one: a database that was put back to an earlier
//! state, or whose tree was changed, is noticed and never signed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tlog::{Checkpoint, Note, SignerKey};
use tokio::sync::watch;
use tokio_postgres::Client;

use crate::store::failure::describe;
use crate::store::log::{self, EnterError, TreeError};

/// Why a checkpoint is not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The tree is not an extension: somebody changed the database.
    #[error(
        "the transparency log has {found}; the checkpoint of {size} leaves that was published last is not part of it"
    )]
    NotExtension { size: u64, found: String },
    #[error("cannot read the tree: {0}")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Earlier(#[from] EnterError),
    #[error("{}", describe(.0))]
    Postgresql(#[from] tokio_postgres::Error),
    #[error("cannot write the checkpoint {}: {error}", .file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("cannot sign the checkpoint: {0}")]
    Sign(#[from] tlog::Error),
}

/// Publishes checkpoints.
pub(crate) struct Publisher {
    key: Arc<SignerKey>,
    file: Option<PathBuf>,
    last: Option<Checkpoint>,
    /// The last checkpoint, for those who send it on.
    latest: watch::Sender<Option<Published>>,
}

/// A published checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    /// Its leaves.
    pub(crate) size: u64,
    /// The signed note.
    pub(crate) note: Arc<str>,
}

impl Publisher {
    /// Begins from the checkpoint in `file`, if there is one.
    pub(crate) fn new(key: Arc<SignerKey>, file: Option<PathBuf>) -> anyhow::Result<Self> {
        let mut publisher = Self {
            key,
            file,
            last: None,
            latest: watch::Sender::new(None),
        };
        if let Some(file) = &publisher.file
            && let Some((checkpoint, note)) = read_last(file, &publisher.key)?
        {
            publisher.published(checkpoint, &note);
        }
        Ok(publisher)
    }

    /// The last checkpoint, from now on. It ends with the publisher.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Published>> {
        self.latest.subscribe()
    }

    fn published(&mut self, checkpoint: Checkpoint, note: &str) {
        self.latest.send_replace(Some(Published {
            size: checkpoint.size,
            note: note.into(),
        }));
        self.last = Some(checkpoint);
    }

    /// Prepares the first checkpoint of all: the gaps and holds so far are signed, too. Where no file has
    /// the last checkpoint, that of the database counts.
    pub(crate) async fn begin(&mut self, client: &mut Client) -> Result<(), PublishError> {
        if self.last.is_some() {
            return Ok(());
        }
        match log::checkpoint(client).await? {
            Some(note) => self.published(open(note.as_bytes(), self.key.verifier())?, &note),
            None => log::sign_earlier(client, &self.key).await?,
        }
        Ok(())
    }

    /// Signs and publishes the tree of `size` leaves, if it grew.
    pub(crate) async fn publish(&mut self, client: &Client, size: u64) -> Result<(), PublishError> {
        if size == 0 && self.last.is_none() {
            return Ok(());
        }
        if let Some(last) = &self.last {
            if size < last.size {
                return Err(not_extension(last, format!("only {size} leaves")));
            }
            let root = log::root(client, last.size).await?;
            if root != last.root {
                return Err(not_extension(last, "another root at that size".to_owned()));
            }
            if size == last.size {
                return Ok(());
            }
        }
        let checkpoint = Checkpoint {
            origin: self.key.verifier().name().to_owned(),
            size,
            root: log::root(client, size).await?,
            extensions: Vec::new(),
        };
        let note = checkpoint.sign(&self.key)?.to_string();
        // First outside of the database: a checkpoint that only the database has proves nothing.
        if let Some(file) = &self.file {
            write(file, &note).map_err(|error| PublishError::File {
                file: file.clone(),
                error,
            })?;
        }
        tracing::info!(size, root = hex::encode(checkpoint.root), note, "checkpoint");
        log::save_checkpoint(client, size, &note).await?;
        self.published(checkpoint, &note);
        Ok(())
    }
}

fn not_extension(last: &Checkpoint, found: String) -> PublishError {
    PublishError::NotExtension {
        size: last.size,
        found,
    }
}

/// The checkpoint in `file`, which this log must have signed; `None` if there is no file.
fn read_last(file: &Path, key: &SignerKey) -> anyhow::Result<Option<(Checkpoint, String)>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read the checkpoint {}", file.display()))?,
    };
    let checkpoint = open(text.as_bytes(), key.verifier()).with_context(|| {
        format!(
            "{} is not a checkpoint of this log (transparency.checkpoint_file, transparency.key_file)",
            file.display()
        )
    })?;
    Ok(Some((checkpoint, text)))
}

/// Verifies a signed checkpoint.
pub(crate) fn open(note: &[u8], key: &tlog::VerifierKey) -> Result<Checkpoint, tlog::Error> {
    let (checkpoint, _) = Checkpoint::open(&Note::from_bytes(note)?, key, &[], 0)?;
    Ok(checkpoint)
}

/// Replaces the file as a whole, so that a crash leaves the last checkpoint or this one.
fn write(file: &Path, note: &str) -> io::Result<()> {
    let temporary = file.with_added_extension("new");
    let mut new = File::create(&temporary)?;
    new.write_all(note.as_bytes())?;
    new.sync_all()?;
    fs::rename(&temporary, file)
}
