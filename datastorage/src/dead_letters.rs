//! `datastorage dlq`: lists, retries or drops entries that could not be stored.

use crate::store::stream::{DeadLetter, Kind, Streams};

/// An action on dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    /// Append it to the stream again.
    Retry,
    /// Delete it permanently.
    Drop,
}

/// Page size.
const PAGE: usize = 500;

/// Executes the action on the given ids, or on all of the kinds; returns one line of JSON for each.
pub(crate) async fn run(
    streams: &Streams,
    action: Action,
    kinds: &[Kind],
    ids: &[String],
) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut found = Vec::new();
    for kind in kinds {
        let mut after = "-".to_owned();
        loop {
            let letters = streams.dead_letters(*kind, &after, PAGE).await?;
            let Some(last) = letters.last() else { break };
            after = format!("({}", last.id);
            for letter in letters {
                if ids.is_empty() || ids.contains(&letter.id) {
                    found.push(letter.id.clone());
                    lines.push(act(streams, action, *kind, &letter).await?);
                }
            }
        }
    }
    let missing: Vec<&String> = ids.iter().filter(|id| !found.contains(id)).collect();
    anyhow::ensure!(
        missing.is_empty(),
        "no dead letter has the id {missing:?}; datastorage dlq list shows all"
    );
    Ok(lines)
}

async fn act(streams: &Streams, action: Action, kind: Kind, letter: &DeadLetter) -> anyhow::Result<String> {
    match action {
        Action::List => {}
        Action::Retry => streams.revive(kind, letter).await?,
        Action::Drop => streams.drop_dead_letter(kind, letter).await?,
    }
    Ok(serde_json::to_string(letter)?)
}
