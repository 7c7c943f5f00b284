//! Bounds of what is stored of a signal, whatever its sender sends.

use wire::webhook::{Labels, Texts};

/// Maximum bytes of the labels, and of the annotations, that are stored of a signal.
pub const MAX_TEXTS_BYTES: usize = 16 << 10;
/// Maximum bytes of a payload that is stored; a longer one is not stored, because a cut one is not JSON.
pub const MAX_PAYLOAD_BYTES: usize = 32 << 10;
/// Texts of at most this size are stored before longer ones.
const SHORT: usize = 1 << 10;
/// The end of a text that was cut.
const CUT: &str = "…";

/// Bounds the parts of one signal.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Fields of the request's spec that are not complete.
    pub(super) truncated: Vec<&'static str>,
}

impl Stored {
    /// The sender's own texts, then the common ones that it does not have. Long ones are cut where not all fit.
    pub(super) fn texts(&mut self, field: &'static str, own: &Texts<'_>, common: &Texts<'_>) -> Labels {
        let mut room = MAX_TEXTS_BYTES;
        let mut cut = own.is_cut() || common.is_cut();
        let mut stored = Labels::new();
        let common = || common.iter().filter(|(name, _)| !own.contains(name));
        for is_short in [true, false] {
            for (name, text) in own.iter().chain(common()) {
                if (name.len() + text.len() <= SHORT) != is_short {
                    continue;
                }
                let size = name.len() + text.len();
                if size <= room {
                    stored.insert(name.to_owned(), text.to_owned());
                    room -= size;
                    continue;
                }
                cut = true;
                if name.len() + CUT.len() < room {
                    let end = text.floor_char_boundary(room - name.len() - CUT.len());
                    stored.insert(name.to_owned(), format!("{}{CUT}", &text[..end]));
                    room = 0;
                }
            }
        }
        if cut {
            self.truncated.push(field);
        }
        stored
    }

    /// The JSON text of the signal; none if it is too long.
    pub(super) fn payload(&mut self, text: &[u8]) -> Option<String> {
        if text.len() > MAX_PAYLOAD_BYTES {
            self.truncated.push("originalPayload");
            return None;
        }
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn texts(members: &[(&'static str, String)]) -> Texts<'static> {
        let members = members.iter().cloned();
        members
            .map(|(name, text)| (Cow::Borrowed(name), Cow::Owned(text)))
            .collect()
    }

    #[test]
    fn short_texts_are_complete_and_long_ones_are_cut() {
        let own = texts(&[("a", "ü".repeat(MAX_TEXTS_BYTES)), ("summary", "short".into())]);
        let common = texts(&[
            ("a", "other".into()),
            ("runbook", "here".into()),
            ("z", "z".repeat(2_000)),
        ]);
        let mut stored = Stored::default();
        let labels = stored.texts("signalAnnotations", &own, &common);
        assert_eq!(stored.truncated, ["signalAnnotations"]);
        assert_eq!((&*labels["summary"], &*labels["runbook"]), ("short", "here"));
        assert!(labels["a"].ends_with("ü…"), "cut between characters");
        let size: usize = labels.iter().map(|(name, text)| name.len() + text.len()).sum();
        assert!((MAX_TEXTS_BYTES - 2..=MAX_TEXTS_BYTES).contains(&size), "{size}");
    }

    #[test]
    fn what_fits_is_complete() {
        let own = texts(&[("a", "x".repeat(MAX_TEXTS_BYTES - 3))]);
        let common = texts(&[("a", "other".into()), ("b", "y".into())]);
        let mut stored = Stored::default();
        let labels = stored.texts("signalLabels", &own, &common);
        assert!(stored.truncated.is_empty());
        assert_eq!((labels["a"].len(), &*labels["b"]), (MAX_TEXTS_BYTES - 3, "y"));
    }

    #[test]
    fn long_payload_is_not_stored() {
        let mut stored = Stored::default();
        assert_eq!(
            stored.payload(&[b' '; MAX_PAYLOAD_BYTES]).map(|text| text.len()),
            Some(MAX_PAYLOAD_BYTES)
        );
        assert!(stored.truncated.is_empty());
        assert_eq!(stored.payload(&[b' '; MAX_PAYLOAD_BYTES + 1]), None);
        assert_eq!(stored.truncated, ["originalPayload"]);
    }
}
