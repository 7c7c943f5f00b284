//! Which signals are the same problem.

use std::fmt;

use sha2::{Digest, Sha256};

use super::target::Target;

/// The SHA-256 that all signals of one problem share; shown as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// One problem is one signal name at one object: `name:namespace:kind:resource`.
    #[must_use]
    pub fn of_signal(name: &str, target: &Target) -> Self {
        Self::of(&format!(
            "{name}:{}:{}:{}",
            target.namespace, target.kind, target.name
        ))
    }

    /// One problem is one top-level owner, whatever the signal is called: `namespace:Kind:name`. New pods of a crash
    /// loop are then the same problem.
    #[must_use]
    pub fn of_owner(owner: &Target) -> Self {
        Self::of(&format!("{}:{}:{}", owner.namespace, owner.kind, owner.name))
    }

    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The fingerprint that is written as `text`, if it is one.
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
    fn the_check_values_hold() {
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
    fn only_what_is_shown_is_read() {
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
