//! `datastorage dlq`: lists, retries or drops entries that could not be stored.

use crate::store::stream::{Budget, DeadLetter, Kind, Streams};

/// An action on dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    List,
    /// Append it to the stream again.
    Retry,
    /// Delete it permanently.
    Drop,
}

/// One page of dead letters.
const PAGE: Budget = Budget {
    entries: 500,
    bytes: 4 << 20,
};

/// Executes the action on the given ids, or on all of the kinds; prints one line of JSON for each. Returns their number.
pub(crate) async fn run(
    streams: &Streams,
    action: Action,
    kinds: &[Kind],
    ids: &[String],
    mut print: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut missing: Vec<&String> = ids.iter().collect();
    for kind in kinds {
        let mut after = "-".to_owned();
        loop {
            let letters = streams.dead_letters(*kind, &after, PAGE).await?;
            let Some(last) = letters.last() else { break };
            after = format!("({}", last.id);
            for letter in letters {
                if ids.is_empty() || ids.contains(&letter.id) {
                    missing.retain(|id| **id != letter.id);
                    print(&act(streams, action, *kind, &letter).await?)?;
                    count += 1;
                }
            }
        }
    }
    anyhow::ensure!(
        missing.is_empty(),
        "no dead letter has the id {missing:?}; datastorage dlq list shows all"
    );
    Ok(count)
}

async fn act(streams: &Streams, action: Action, kind: Kind, letter: &DeadLetter) -> anyhow::Result<String> {
    match action {
        Action::List => {}
        Action::Retry => streams.revive(kind, letter).await?,
        Action::Drop => streams.drop_dead_letter(kind, letter).await?,
    }
    Ok(serde_json::to_string(letter)?)
}
