//! Cancellation of children.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Callback = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    callbacks: BTreeMap<u64, Callback>,
}

/// Cancellation, fired at most once: the group of every child that waits with it is ended.
///
/// Clones share the state. To connect it to another kind of cancellation, call [`Cancel::cancel`] from there.
#[derive(Clone, Default)]
pub struct Cancel {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Cancel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cancel")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}

impl Cancel {
    /// Returns a cancellation that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a cancellation that never fires: the child runs until it exits or its deadline passes.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Fires. Returns at once; the children get the stop signal now and SIGKILL after their grace period.
    pub fn cancel(&self) {
        let callbacks = {
            let mut state = self.lock();
            state.cancelled = true;
            std::mem::take(&mut state.callbacks)
        };
        // Outside of the lock: a callback may itself call is_cancelled or drop its guard.
        for callback in callbacks.values() {
            callback();
        }
    }

    /// Whether it has fired.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Calls `callback` when it fires (at once if it has fired), until the guard is dropped.
    #[must_use = "the callback is removed when the guard is dropped"]
    pub fn on_cancel(&self, callback: impl Fn() + Send + Sync + 'static) -> CancelGuard {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        if state.cancelled {
            drop(state);
            callback();
        } else {
            state.callbacks.insert(id, Box::new(callback));
        }
        CancelGuard {
            cancel: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a callback of [`Cancel::on_cancel`] on drop.
#[derive(Debug)]
pub struct CancelGuard {
    cancel: Cancel,
    id: u64,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.cancel.lock().callbacks.remove(&self.id);
    }
}
