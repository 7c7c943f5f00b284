//! Secrets, which are in files of their own and never in the configuration.

use std::path::Path;
use std::sync::Arc;

use service::config::ConfigError;
use sha2::{Digest as _, Sha256};
use tlog::{Algorithm, SignerKey};

use super::Config;
use crate::domain::chain::{Key, Keys};

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
        let current = read("chain.hmac_key_file", config.chain.hmac_key_file.as_deref());
        let previous: Vec<String> = config
            .chain
            .previous_hmac_key_files
            .iter()
            .filter_map(|path| read("chain.previous_hmac_key_files", Some(path)))
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
        for (field, key) in current
            .iter()
            .map(|key| ("chain.hmac_key_file", key))
            .chain(previous.iter().map(|key| ("chain.previous_hmac_key_files", key)))
        {
            if key.len() < 32 {
                errors.push(ConfigError {
                    field: field.to_owned(),
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
        let key = |text: String| Key::new(text.into_bytes());
        let chain_keys = Keys {
            current: current.map(key),
            previous: previous.into_iter().map(key).collect(),
        };
        Ok(Self {
            postgresql_password,
            redis_password,
            chain_keys,
            log_key,
        })
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
