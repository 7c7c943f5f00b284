//! The ends of chains as this process last left them.
//!
//! Where nobody else appends to a chain, its end is known without asking, and the transaction that appends checks that
//! it still is there. Where replicas take turns at the same chains that fails often, and asking first is cheaper: after
//! each failure the next groups ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::placing::{End, Head};

/// So many chains are remembered at most: a few megabytes.
const MOST: usize = 20_000;
/// So many groups ask after one whose memory was wrong.
const ASK_AFTER_FAILURE: u32 = 200;

/// Shared by all who append in this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    ends: HashMap<Box<str>, End>,
    asking: u32,
}

impl Ends {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next group may rely on what is remembered.
    pub(super) fn may_be_trusted(&self) -> bool {
        let mut state = self.state();
        if state.asking == 0 {
            return true;
        }
        state.asking -= 1;
        false
    }

    /// The heads of these chains, as far as they are known; the others are returned as unknown.
    pub(super) fn look_up<'a>(&self, correlations: &[&'a str]) -> (HashMap<&'a str, Head>, Vec<&'a str>) {
        let state = self.state();
        let mut unknown = Vec::new();
        let mut heads = HashMap::with_capacity(correlations.len());
        for correlation in correlations {
            match state.ends.get(*correlation) {
                Some(end) => drop(heads.insert(*correlation, Head::at(Some(*end)))),
                None => unknown.push(*correlation),
            }
        }
        (heads, unknown)
    }

    /// Remembers where a committed group left its chains.
    pub(super) fn remember(&self, heads: &HashMap<&str, Head>) {
        let mut state = self.state();
        if state.ends.len() + heads.len() > MOST {
            state.ends.clear();
        }
        for (correlation, head) in heads.iter().filter(|(_, head)| head.has_moved()) {
            match state.ends.get_mut(*correlation) {
                // Two groups may end in another order than they began.
                Some(end) if end.sequence >= head.now.sequence => {}
                Some(end) => *end = head.now,
                None => drop(state.ends.insert((*correlation).into(), head.now)),
            }
        }
    }

    /// What is remembered of these chains was wrong, or may be.
    pub(super) fn forget(&self, correlations: &[&str], was_wrong: bool) {
        let mut state = self.state();
        for correlation in correlations {
            state.ends.remove(*correlation);
        }
        if was_wrong {
            state.asking = ASK_AFTER_FAILURE;
        }
    }
}
