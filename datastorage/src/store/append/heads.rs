//! Cached chain heads of this process.
//!
//! While no other replica appends to a chain, its head is known without a query, and the appending transaction checks
//! it. When replicas alternate on the same chains that often fails, and querying first is cheaper: after each failure
//! the next groups query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::placing::{End, Head};

/// Maximum number of cached heads: a few megabytes.
const MOST: usize = 20_000;
/// Number of groups that query after a wrong cached head.
const ASK_AFTER_FAILURE: u32 = 200;

/// Shared by all appenders of this process.
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

    /// Whether the next group may use the cache.
    pub(super) fn may_be_trusted(&self) -> bool {
        let mut state = self.state();
        if state.asking == 0 {
            return true;
        }
        state.asking -= 1;
        false
    }

    /// The cached heads of these chains; the others are returned as unknown.
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

    /// Caches the heads of a committed group.
    pub(super) fn update(&self, heads: &HashMap<&str, Head>) {
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

    /// Discards the cached heads of these chains, which were or may be wrong.
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
