//! The dead-letter queue: entries that could not be stored, with the reason.

use redis::streams::StreamRangeReply;
use redis::{RedisError, cmd, pipe};

use super::{Entry, GROUP, Kind, Streams};

/// An entry that could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) body: String,
}

impl Streams {
    /// Dead letters from `start` on (`-` from the first, `(ID` after that one).
    pub(crate) async fn dead_letters(
        &self,
        kind: Kind,
        start: &str,
        count: usize,
    ) -> Result<Vec<DeadLetter>, RedisError> {
        let reply: StreamRangeReply = cmd("XRANGE")
            .arg(kind.dead_letters())
            .arg(start)
            .arg("+")
            .arg("COUNT")
            .arg(count)
            .query_async(&mut self.connection())
            .await?;
        Ok(reply
            .ids
            .iter()
            .map(|id| DeadLetter {
                kind: kind.as_str(),
                id: id.id.clone(),
                reason: id.get("reason").unwrap_or_default(),
                // The stored name: entries of earlier versions have it.
                attempts: id.get("tries").unwrap_or_default(),
                body: id.get("body").unwrap_or_default(),
            })
            .collect())
    }

    /// Returns a dead letter to its stream.
    pub(crate) async fn revive(&self, kind: Kind, letter: &DeadLetter) -> Result<(), RedisError> {
        pipe()
            .atomic()
            .cmd("XADD")
            .arg(kind.stream())
            .arg("*")
            .arg("v")
            .arg("1")
            .arg("body")
            .arg(&letter.body)
            .ignore()
            .cmd("XDEL")
            .arg(kind.dead_letters())
            .arg(&letter.id)
            .ignore()
            .query_async(&mut self.connection())
            .await
    }

    /// Deletes a dead letter.
    pub(crate) async fn drop_dead_letter(&self, kind: Kind, letter: &DeadLetter) -> Result<(), RedisError> {
        cmd("XDEL")
            .arg(kind.dead_letters())
            .arg(&letter.id)
            .query_async(&mut self.connection())
            .await
    }

    /// Moves an entry to the dead-letter queue.
    pub(crate) async fn dead_letter(
        &self,
        kind: Kind,
        entry: &Entry,
        reason: &str,
        attempts: u32,
    ) -> Result<(), RedisError> {
        pipe()
            .atomic()
            .cmd("XADD")
            .arg(kind.dead_letters())
            .arg("*")
            .arg("v")
            .arg("1")
            .arg("body")
            .arg(
                entry
                    .body
                    .as_deref()
                    .or(entry.fields.as_deref())
                    .unwrap_or_default(),
            )
            .arg("reason")
            .arg(reason)
            .arg("tries")
            .arg(attempts)
            .arg("entry")
            .arg(&entry.id)
            .ignore()
            .cmd("XACK")
            .arg(kind.stream())
            .arg(GROUP)
            .arg(&entry.id)
            .ignore()
            .cmd("XDEL")
            .arg(kind.stream())
            .arg(&entry.id)
            .ignore()
            .cmd("HDEL")
            .arg(kind.attempts())
            .arg(&entry.id)
            .ignore()
            .query_async(&mut self.connection())
            .await
    }
}
