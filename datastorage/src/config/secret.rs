//! Secrets, which are in files of their own and never in the configuration.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use service::config::ConfigError;
use sha2::{Digest as _, Sha256};
use tlog::{Algorithm, SignerKey};

use super::{Config, PreviousKey};
use crate::domain::chain::{Key, Keys, Period};
use crate::domain::time::Micros;
use crate::domain::trust::Trust;

/// The content of the secret files.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    pub(crate) postgresql_password: Option<String>,
    pub(crate) redis_password: Option<String>,
    pub(crate) chain_keys: Keys,
    /// Signs checkpoints of the transparency log.
    pub(crate) log_key: Option<Arc<SignerKey>>,
}

impl Secrets {
    /// What verification trusts.
    pub(crate) fn trust(&self) -> Trust {
        Trust {
            chain: self.chain_keys.clone(),
            log: self.log_key.as_ref().map(|key| key.verifier().clone()),
        }
    }

    /// Reads every file that the configuration names; each unreadable file is an error.
    pub(crate) fn read(config: &Config) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut read = |field: &str, path: Option<&Path>| {
            let path = path?;
            match std::fs::read_to_string(path) {
                Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => {
                    errors.push(ConfigError::new(field, path.display(), "the file is empty"));
                    None
                }
                // Editors end a file with a line break; secrets do not.
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    errors.push(ConfigError::new(
                        field,
                        path.display(),
                        format!("cannot read the file: {error}"),
                    ));
                    None
                }
            }
        };
        let postgresql_password = read(
            "postgresql.password_file",
            config.postgresql.password_file.as_deref(),
        );
        let redis_password = read("redis.password_file", config.redis.password_file.as_deref());
        let chain = &config.chain;
        let current = PreviousKey::Period {
            file: chain.hmac_key_file.clone().unwrap_or_default(),
            start: chain.hmac_key_start,
            end: None,
        };
        let current = chain
            .hmac_key_file
            .is_some()
            .then_some(("chain.hmac_key_file", &current));
        let previous = chain.previous_hmac_key_files.iter();
        let previous = previous.map(|key| ("chain.previous_hmac_key_files", key));
        let chain_keys: Vec<(&str, String, Period)> = current
            .into_iter()
            .chain(previous)
            .filter_map(|(field, key)| Some((field, read(field, Some(key.file()))?, key.period())))
            .collect();
        let log_key = read("transparency.key_file", config.transparency.key_file.as_deref());
        let log_key = log_key.and_then(|text| match signer(&text, &config.transparency.origin) {
            Ok(key) => Some(Arc::new(key)),
            Err(error) => {
                errors.push(ConfigError {
                    field: "transparency.key_file".to_owned(),
                    value: None,
                    reason: format!("{error}; make a key with `datastorage log-key NAME`"),
                });
                None
            }
        });
        for (field, key, _) in &chain_keys {
            if key.len() < 32 {
                errors.push(ConfigError {
                    field: (*field).to_owned(),
                    value: None,
                    reason: format!(
                        "the key has {} bytes; write at least 32 (openssl rand -hex 32)",
                        key.len()
                    ),
                });
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let chain_keys = chain_keys
            .into_iter()
            .map(|(_, key, period)| Key::new(key.into_bytes(), period))
            .collect();
        Ok(Self {
            postgresql_password,
            redis_password,
            chain_keys: Keys(chain_keys),
            log_key,
        })
    }
}

impl PreviousKey {
    fn file(&self) -> &Path {
        match self {
            Self::File(file) | Self::Period { file, .. } => file,
        }
    }

    fn period(&self) -> Period {
        let micros = |time: &Timestamp| Micros(time.as_microsecond());
        match self {
            Self::File(_) => Period::default(),
            Self::Period { start, end, .. } => Period {
                start: start.as_ref().map(micros),
                end: end.as_ref().map(micros),
            },
        }
    }
}

/// The key in its text form, or the one that belongs to another secret.
fn signer(text: &str, origin: &str) -> Result<SignerKey, tlog::Error> {
    const MIN_BYTES: usize = 32;
    if text.starts_with("PRIVATE+KEY+") {
        return text.parse();
    }
    if text.len() < MIN_BYTES {
        return Err(tlog::Error::Key("the secret has less than 32 bytes"));
    }
    let seed = Sha256::new()
        .chain_update("kubernaut audit log key")
        .chain_update(text)
        .finalize();
    SignerKey::from_seed(origin, Algorithm::Ed25519, seed.into())
}
