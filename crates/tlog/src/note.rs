//! Signed notes of `c2sp.org/signed-note`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Error;
use crate::key::{SignerKey, VerifierKey, is_name};

/// Maximum size of a note in bytes: 16 post-quantum signatures of 5 kB fit.
pub const MAX_NOTE_BYTES: usize = 256 * 1024;
/// Maximum number of signatures of a note.
pub const MAX_SIGNATURES: usize = 100;

/// A text and its signatures. Nothing is verified before [`Note::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// ID of the key.
    pub key_id: u32,
    /// The signature itself, not empty; its form depends on the key's algorithm.
    pub bytes: Vec<u8>,
}

/// A valid signature by a known key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key.
    pub key: VerifierKey,
    /// Time of a cosignature, in seconds since 1970.
    pub time: Option<u64>,
}

fn check_text(text: &str) -> Result<(), Error> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(Error::Note("too many bytes"));
    }
    if text.contains(|c: char| c < ' ' && c != '\n') {
        return Err(Error::Note("control character"));
    }
    if text.ends_with('\n') {
        Ok(())
    } else {
        Err(Error::Note("text does not end in a newline"))
    }
}

impl Note {
    /// Returns an unsigned note. The text ends in a newline and has no other control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Parses a signed note.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(Error::Note("too many bytes"));
        }
        std::str::from_utf8(bytes)
            .map_err(|_| Error::Note("invalid UTF-8"))?
            .parse()
    }

    /// Returns the text, with its final newline. Don't use it before [`Note::verify`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the signatures, of known and unknown keys.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature or a cosignature. `time`, in seconds since 1970, is part of a cosignature.
    pub fn sign(&mut self, key: &SignerKey, time: u64) -> Result<(), Error> {
        let signature = key.sign(&self.text, time)?;
        self.add(signature)
    }

    /// Adds a signature line, such as a witness returned. Replaces the same key's earlier line.
    pub fn add(&mut self, signature: Signature) -> Result<(), Error> {
        if !is_name(&signature.name) || signature.bytes.is_empty() {
            return Err(Error::Note("malformed signature line"));
        }
        self.signatures
            .retain(|it| (&it.name, it.key_id) != (&signature.name, signature.key_id));
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(Error::Note("too many signatures"));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Verifies the signatures of known keys, and that at least `needed` (1 or more) distinct keys signed.
    ///
    /// Signatures of unknown keys are ignored; one invalid signature of a known key rejects the note. Keys with
    /// the same public key count as one, since a cosignature doesn't commit to the name.
    pub fn verify(&self, known: &[VerifierKey], needed: usize) -> Result<Vec<Verified>, Error> {
        let mut verified: Vec<Verified> = Vec::new();
        for signature in &self.signatures {
            let signed = |key: &&VerifierKey| key.id() == signature.key_id && key.name() == signature.name;
            // More than one key matches if their ids collide; a signature must then be valid for one of them.
            let mut outcome = None;
            for key in known.iter().filter(signed) {
                let result = key.verify(&self.text, &signature.bytes).map(|time| Verified {
                    key: key.clone(),
                    time,
                });
                if !matches!(outcome, Some(Ok(_))) {
                    outcome = Some(result);
                }
            }
            let Some(valid) = outcome.transpose()? else {
                continue;
            };
            if !verified.iter().any(|it| it.key.public() == valid.key.public()) {
                verified.push(valid);
            }
        }
        let needed = needed.max(1);
        if verified.len() < needed {
            return Err(Error::TooFewSignatures {
                found: verified.len(),
                needed,
            });
        }
        Ok(verified)
    }
}

impl fmt::Display for Signature {
    /// Prints the signature line, without the newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.to_be_bytes().as_slice(), &self.bytes].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let malformed = || Error::Note("malformed signature line");
        let (name, encoded) = line
            .strip_prefix("— ")
            .and_then(|it| it.split_once(' '))
            .ok_or_else(malformed)?;
        let decoded = STANDARD.decode(encoded).map_err(|_| malformed())?;
        let (id, bytes) = decoded.split_first_chunk::<4>().ok_or_else(malformed)?;
        if !is_name(name) || bytes.is_empty() {
            return Err(malformed());
        }
        Ok(Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*id),
            bytes: bytes.to_vec(),
        })
    }
}

impl fmt::Display for Note {
    /// Prints the text, an empty line, and the signature lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = Error;

    fn from_str(note: &str) -> Result<Self, Error> {
        check_text(note)?;
        let end_of_text = note
            .rfind("\n\n")
            .ok_or(Error::Note("no empty line before the signatures"))?;
        let (text, lines) = note.split_at(end_of_text + 1);
        let lines: Vec<&str> = lines.trim_matches('\n').split('\n').collect();
        if lines.len() > MAX_SIGNATURES {
            return Err(Error::Note("too many signatures"));
        }
        let signatures = lines.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }
}
