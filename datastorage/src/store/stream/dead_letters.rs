//! The dead-letter queue: entries that could not be stored, with the reason.

use redis::RedisError;

use super::scripts::Script;
use super::{Budget, Entry, Fields, GROUP, Kind, Streams, eval, text};

/// An entry that could not be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct DeadLetter {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    pub(crate) body: String,
}

/// Maximum bytes of a stored reason: it may quote the entry.
const MAX_REASON: usize = 2048;

impl Streams {
    /// Dead letters from `start` on (`-` from the first, `(ID` after that one).
    pub(crate) async fn dead_letters(
        &self,
        kind: Kind,
        start: &str,
        budget: Budget,
    ) -> Result<Vec<DeadLetter>, RedisError> {
        let mut command = eval(Script::List, kind);
        command.arg(start).arg(budget.entries).arg(budget.bytes);
        let letters: Vec<Fields> = self.run(&command).await?;
        Ok(letters
            .into_iter()
            .map(|(id, fields)| letter(kind, id, fields))
            .collect())
    }

    /// Returns a dead letter to its stream.
    pub(crate) async fn revive(&self, kind: Kind, letter: &DeadLetter) -> Result<(), RedisError> {
        self.run(eval(Script::TakeOut, kind).arg(&letter.id).arg(1)).await
    }

    /// Deletes a dead letter.
    pub(crate) async fn drop_dead_letter(&self, kind: Kind, letter: &DeadLetter) -> Result<(), RedisError> {
        self.run(eval(Script::TakeOut, kind).arg(&letter.id).arg(0)).await
    }

    /// Moves an entry to the dead-letter queue.
    pub(crate) async fn dead_letter(
        &self,
        kind: Kind,
        entry: &Entry,
        reason: &str,
        attempts: u32,
    ) -> Result<(), RedisError> {
        let content = entry.body.as_deref().or(entry.fields.as_deref());
        let attempts = attempts.to_string();
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        let fields: [&str; 10] = [
            "v",
            "1",
            "body",
            content.unwrap_or_default(),
            "reason",
            reason,
            // The stored name: entries of earlier versions have it.
            "tries",
            &attempts,
            "entry",
            &entry.id,
        ];
        let mut command = eval(Script::DeadLetter, kind);
        command.arg(GROUP).arg(&entry.id).arg(&fields);
        self.run(&command).await
    }
}

fn letter(kind: Kind, id: String, fields: Vec<Vec<u8>>) -> DeadLetter {
    let mut letter = DeadLetter {
        kind: kind.as_str(),
        id,
        ..DeadLetter::default()
    };
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        match name.as_slice() {
            b"reason" => letter.reason = text(value),
            b"tries" => letter.attempts = text(value).parse().unwrap_or(0),
            b"body" => letter.body = text(value),
            _ => {}
        }
    }
    letter
}
