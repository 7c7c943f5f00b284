//! Fingerprints: which signals belong to the same incident.

use std::fmt;

use sha2::{Digest, Sha256};

use super::signal::Distinction;
use super::target::Target;

/// The SHA-256 shared by all signals of one incident; shown as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// One incident is one signal name at one object: `name:namespace:kind:resource`.
    #[must_use]
    pub fn of_signal(name: &str, target: &Target) -> Self {
        Self::of(&format!(
            "{name}:{}:{}:{}",
            target.namespace, target.kind, target.name
        ))
    }

    /// One incident is one top-level owner, whatever the signal's name is: `namespace:Kind:name`. New pods of a crash
    /// loop then belong to the same incident.
    #[must_use]
    pub fn of_owner(owner: &Target) -> Self {
        Self::of(&format!("{}:{}:{}", owner.namespace, owner.kind, owner.name))
    }

    /// The fingerprint of the incident that `distinction` distinguishes from others of the same name and target.
    #[must_use]
    pub fn distinguished(self, distinction: &Distinction) -> Self {
        let Distinction { cluster, labels, .. } = distinction;
        if cluster.is_none() && labels.is_none() {
            return self;
        }
        let mut hash = Sha256::new_with_prefix(self.0);
        if let Some(labels) = labels {
            hash.update(b"labels");
            hash.update(labels);
        }
        if let Some(cluster) = cluster {
            hash.update(b"cluster");
            hash.update(cluster);
        }
        Self(hash.finalize().into())
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Parses a fingerprint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let lowercase = text.bytes().all(|byte| !byte.is_ascii_uppercase());
        (lowercase && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_check_values() {
        let target = |namespace: &str, kind: &str, name: &str| Target {
            namespace: namespace.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let pod = target("prod-payment-service", "Pod", "payment-api-789");
        assert_eq!(
            Fingerprint::of_signal("HighMemoryUsage", &pod).to_string(),
            "8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751"
        );
        assert_eq!(
            Fingerprint::of_owner(&target("production", "Deployment", "payment-api")).to_string(),
            "14bb202fb83f300324535b0cc00d4ffd093d1e2fbc7830da6b8def8c7a48a9bc"
        );
    }

    #[test]
    fn rejects_anything_but_64_lowercase_hex_digits() {
        let shown = "8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751";
        assert_eq!(
            Fingerprint::parse(shown)
                .map(|fingerprint| fingerprint.to_string())
                .as_deref(),
            Some(shown)
        );
        for wrong in [
            "",
            "8ac6",
            &shown.to_uppercase(),
            &format!("{shown}00"),
            &shown.replace('8', "g"),
        ] {
            assert_eq!(Fingerprint::parse(wrong), None, "{wrong}");
        }
    }
}
