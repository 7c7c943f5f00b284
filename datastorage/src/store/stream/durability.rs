//! Whether Redis keeps what it acknowledges: its append-only file and its eviction policy.

use redis::{RedisError, cmd};

use super::Streams;

/// A setting that can cost acknowledged entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// At `maxmemory` it deletes keys, streams included.
    Evicting(String),
    /// A restart loses everything.
    NotPersistent,
    /// A crash of its machine loses the last entries.
    Unsynced(String),
}

impl Flaw {
    /// Every value of the metric's label.
    pub(crate) const NAMES: [&'static str; 4] = ["evicting", "not_persistent", "unsynced", "unchecked"];

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Evicting(_) => "evicting",
            Self::NotPersistent => "not_persistent",
            Self::Unsynced(_) => "unsynced",
        }
    }

    /// Whether production must not start with it. A crash of a machine is rare, and costs the last second only.
    fn is_fatal(&self) -> bool {
        !matches!(self, Self::Unsynced(_))
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Evicting(policy) => write!(
                f,
                "it deletes acknowledged entries at maxmemory (maxmemory-policy is {policy}; set noeviction)"
            ),
            Self::NotPersistent => {
                f.write_str("a restart loses acknowledged entries (appendonly is no; set yes)")
            }
            Self::Unsynced(policy) => write!(
                f,
                "a crash of its machine can lose the last acknowledged entries (appendfsync is {policy}; set always)"
            ),
        }
    }
}

/// The result of the check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    Checked(Vec<Flaw>),
    /// The server rejects CONFIG; the text is its reason.
    Unchecked(String),
}

impl Durability {
    /// The names of what is wrong, of [`Flaw::NAMES`].
    pub(crate) fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Checked(flaws) => flaws.iter().map(Flaw::name).collect(),
            Self::Unchecked(_) => vec!["unchecked"],
        }
    }

    /// The flaw with which production must not start.
    pub(crate) fn fatal(&self) -> Option<&Flaw> {
        match self {
            Self::Checked(flaws) => flaws.iter().find(|flaw| flaw.is_fatal()),
            Self::Unchecked(_) => None,
        }
    }

    /// What is wrong; empty if nothing is.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Checked(flaws) => flaws.iter().map(Flaw::to_string).collect::<Vec<_>>().join("; "),
            Self::Unchecked(reason) => {
                format!("unchecked: it does not permit CONFIG GET ({reason}), so its durability is unknown")
            }
        }
    }

    /// Judges the settings.
    fn of(append_only: &str, append_fsync: &str, policy: &str, max_memory: &str) -> Self {
        let mut flaws = Vec::new();
        // The volatile policies delete keys with a time to live only, which the streams don't have.
        if policy.starts_with("allkeys") && max_memory != "0" {
            flaws.push(Flaw::Evicting(policy.to_owned()));
        }
        if append_only != "yes" {
            flaws.push(Flaw::NotPersistent);
        } else if append_fsync != "always" {
            flaws.push(Flaw::Unsynced(append_fsync.to_owned()));
        }
        Self::Checked(flaws)
    }
}

impl Streams {
    /// Checks the server's settings; fails only if the server does not respond.
    pub(crate) async fn durability(&self) -> Result<Durability, RedisError> {
        let mut values = Vec::new();
        for name in ["appendonly", "appendfsync", "maxmemory-policy", "maxmemory"] {
            let reply: Result<Vec<String>, RedisError> = self.run(cmd("CONFIG").arg("GET").arg(name)).await;
            match reply {
                Ok(pair) if pair.len() == 2 => values.extend(pair.into_iter().nth(1)),
                Ok(_) => return Ok(Durability::Unchecked(format!("no setting {name}"))),
                // The code of an error that the server sent.
                Err(error) if error.code().is_some() => return Ok(Durability::Unchecked(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        let [append_only, append_fsync, policy, max_memory] = &values[..] else {
            return Ok(Durability::Unchecked("incomplete reply".to_owned()));
        };
        Ok(Durability::of(append_only, append_fsync, policy, max_memory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_lose_entries_are_flaws() {
        for (settings, names, is_fatal) in [
            (["yes", "always", "noeviction", "100"], vec![], false),
            (["yes", "always", "volatile-lru", "100"], vec![], false),
            (["yes", "always", "allkeys-lru", "0"], vec![], false),
            (["yes", "everysec", "noeviction", "0"], vec!["unsynced"], false),
            (["yes", "always", "allkeys-lru", "100"], vec!["evicting"], true),
            (["no", "always", "noeviction", "0"], vec!["not_persistent"], true),
            (
                ["no", "no", "allkeys-random", "1"],
                vec!["evicting", "not_persistent"],
                true,
            ),
        ] {
            let [append_only, append_fsync, policy, max_memory] = settings;
            let durability = Durability::of(append_only, append_fsync, policy, max_memory);
            assert_eq!(durability.names(), names, "{settings:?}");
            assert_eq!(durability.fatal().is_some(), is_fatal, "{settings:?}");
            assert_eq!(durability.detail().is_empty(), names.is_empty(), "{settings:?}");
        }
    }
}
