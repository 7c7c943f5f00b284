//! Bounds the concurrent calls of the API, in sum and for each namespace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Maximum concurrent calls, each on its own connection: more would queue in the API server, where queueing counts as
/// load.
const CALLS_AT_ONCE: usize = 64;
/// Maximum concurrent calls of one namespace: where a webhook of it hangs, other namespaces go on.
const CALLS_PER_NAMESPACE: usize = 48;

/// The calls that may run now.
pub(super) struct Turns {
    all: Semaphore,
    /// By namespace, while calls of it run or wait.
    namespaces: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A turn to call; released when dropped.
pub(super) struct Turn<'a> {
    _all: Option<SemaphorePermit<'a>>,
    own: Option<OwnedSemaphorePermit>,
    turns: &'a Turns,
    namespace: String,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Semaphore::new(CALLS_AT_ONCE),
            namespaces: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn to call about an object of `namespace`.
    pub(super) async fn take(&self, namespace: &str) -> Turn<'_> {
        let own = {
            let mut namespaces = self.namespaces();
            let own = namespaces
                .entry(namespace.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(CALLS_PER_NAMESPACE)));
            Arc::clone(own)
        };
        // The semaphores are never closed.
        let own = own.acquire_owned().await.ok();
        Turn {
            _all: self.all.acquire().await.ok(),
            own,
            turns: self,
            namespace: namespace.to_owned(),
        }
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut namespaces = self.turns.namespaces();
        self.own.take();
        // A call that waits for its turn has a reference.
        if let Entry::Occupied(own) = namespaces.entry(std::mem::take(&mut self.namespace))
            && Arc::strong_count(own.get()) == 1
        {
            own.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_namespace_does_not_use_all_turns() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..CALLS_PER_NAMESPACE {
            held.push(turns.take("bad").await);
        }
        let mut waiting = Box::pin(turns.take("bad"));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(turns.take("good").await);
        held.clear();
        drop(waiting.await);
        assert!(turns.namespaces().is_empty());
    }
}
