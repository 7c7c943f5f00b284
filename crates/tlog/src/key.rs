//! Keys of `c2sp.org/signed-note` and `c2sp.org/tlog-cosignature`, in their text forms.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::Error;
use crate::merkle::sha256;
use crate::note::Signature;

/// Kind of a key's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `0x01`: Ed25519 over the note's text.
    Ed25519,
    /// `0x04`: `cosignature/v1`, Ed25519 over a time and a checkpoint.
    Cosignature,
}

impl Algorithm {
    fn id(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
        }
    }

    /// Splits an encoded key into its algorithm and its 32 bytes.
    fn decode(text: &str) -> Result<(Self, [u8; 32]), Error> {
        let bytes = STANDARD.decode(text).map_err(|_| Error::Key("invalid base64"))?;
        let (id, key) = bytes.split_first().ok_or(Error::Key("no key material"))?;
        let algorithm = match id {
            0x01 => Self::Ed25519,
            0x04 => Self::Cosignature,
            _ => return Err(Error::Key("unsupported algorithm")),
        };
        Ok((
            algorithm,
            key.try_into()
                .map_err(|_| Error::Key("expected 32 bytes of key material"))?,
        ))
    }

    fn encode(self, key: &[u8; 32]) -> String {
        STANDARD.encode([&[self.id()], key.as_slice()].concat())
    }
}

/// Returns whether `name` is a valid key name: not empty, without spaces, control characters and `+`.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c < ' ' || c == '+')
}

/// Splits `<name>+<key id>+<base64>`.
fn split_key(text: &str) -> Result<(&str, u32, &str), Error> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Key("expected <name>+<key id>+<base64>"));
    };
    let id_value = u32::from_str_radix(id, 16).map_err(|_| Error::Key("invalid key id"))?;
    if format!("{id_value:08x}") != id {
        return Err(Error::Key("expected a key id of 8 lowercase hex digits"));
    }
    Ok((name, id_value, key))
}

/// A public key that verifies signatures of one name and algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    algorithm: Algorithm,
    public: [u8; 32],
}

impl VerifierKey {
    /// Returns the key of `name` with this public key. Fails if the name is empty or has spaces or `+`.
    pub fn new(name: &str, algorithm: Algorithm, public: [u8; 32]) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(Error::Key("invalid name"));
        }
        let input = [name.as_bytes(), b"\n", &[algorithm.id()], &public].concat();
        let [a, b, c, d, ..] = sha256(&input);
        Ok(Self {
            name: name.to_owned(),
            id: u32::from_be_bytes([a, b, c, d]),
            algorithm,
            public,
        })
    }

    /// Returns the key name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the key ID.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the kind of signatures that the key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the Ed25519 public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// Verifies a signature of this key; returns a cosignature's time in seconds since 1970.
    pub(crate) fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
        let invalid = || Error::Signature(self.name.clone());
        let (time, signature) = match self.algorithm {
            Algorithm::Ed25519 => (None, signature),
            Algorithm::Cosignature => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or_else(invalid)?;
                let time = u64::from_be_bytes(*time);
                if time > i64::MAX as u64 {
                    return Err(invalid());
                }
                (Some(time), signature)
            }
        };
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        key.verify(message(text, time).as_bytes(), signature)
            .map_err(|_| invalid())?;
        Ok(time)
    }
}

/// Returns the bytes that are signed.
fn message(text: &str, time: Option<u64>) -> String {
    match time {
        None => text.to_owned(),
        Some(time) => format!("cosignature/v1\ntime {time}\n{text}"),
    }
}

impl fmt::Display for VerifierKey {
    /// Prints `<name>+<key id>+<base64>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.id,
            self.algorithm.encode(&self.public)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, id, key) = split_key(text)?;
        let (algorithm, public) = Algorithm::decode(key)?;
        let key = Self::new(name, algorithm, public)?;
        if key.id == id {
            Ok(key)
        } else {
            Err(Error::Key("key id does not match the key"))
        }
    }
}

/// A private key that signs notes or cosigns checkpoints.
pub struct SignerKey {
    verifier: VerifierKey,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SignerKey {
    /// Returns the key of `name` with this Ed25519 seed: 32 bytes from a cryptographic random source.
    pub fn from_seed(name: &str, algorithm: Algorithm, seed: [u8; 32]) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| Error::Key("invalid seed"))?;
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| Error::Key("invalid seed"))?;
        Ok(Self {
            verifier: VerifierKey::new(name, algorithm, public)?,
            seed,
            pair,
        })
    }

    /// Returns a new key of `name`.
    pub fn generate(name: &str, algorithm: Algorithm) -> Result<Self, Error> {
        let mut seed = [0; 32];
        SystemRandom::new()
            .fill(&mut seed)
            .map_err(|_| Error::Key("the system has no random numbers"))?;
        Self::from_seed(name, algorithm, seed)
    }

    /// Returns the public key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Returns the text form, a secret, as Go's `note` package has it: `PRIVATE+KEY+<name>+<key id>+<base64>`.
    pub fn to_secret_text(&self) -> String {
        let VerifierKey {
            name, id, algorithm, ..
        } = &self.verifier;
        format!("PRIVATE+KEY+{name}+{id:08x}+{}", algorithm.encode(&self.seed))
    }

    /// Signs `text`; `time` (seconds since 1970) is part of a cosignature and unused otherwise.
    pub(crate) fn sign(&self, text: &str, time: u64) -> Result<Signature, Error> {
        let time = match self.verifier.algorithm {
            Algorithm::Ed25519 => None,
            Algorithm::Cosignature if time > i64::MAX as u64 => return Err(Error::Note("time over 2^63-1")),
            Algorithm::Cosignature => Some(time),
        };
        let mut bytes = time.map(|time| time.to_be_bytes().to_vec()).unwrap_or_default();
        bytes.extend_from_slice(self.pair.sign(message(text, time).as_bytes()).as_ref());
        Ok(Signature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.id,
            bytes,
        })
    }
}

impl FromStr for SignerKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let key = text
            .strip_prefix("PRIVATE+KEY+")
            .ok_or(Error::Key("expected PRIVATE+KEY+…"))?;
        let (name, id, key) = split_key(key)?;
        let (algorithm, seed) = Algorithm::decode(key)?;
        let key = Self::from_seed(name, algorithm, seed)?;
        if key.verifier.id == id {
            Ok(key)
        } else {
            Err(Error::Key("key id does not match the key"))
        }
    }
}

impl fmt::Debug for SignerKey {
    /// Prints the public key only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignerKey").field(&self.verifier).finish()
    }
}
