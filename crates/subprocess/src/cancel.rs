//! A switch that ends the children which are being waited for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Callback = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct State {
    cancelled: bool,
    next: u64,
    callbacks: BTreeMap<u64, Callback>,
}

/// A switch, thrown once: every child that is waited for with it is ended as a group.
///
/// Clones are the same switch. To tie it to another kind of cancellation, call [`Cancel::cancel`] from there.
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
    /// A switch that has not been thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A switch of its own that nobody holds: the child runs to its end or its deadline.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Throws the switch. Returns at once; the children get SIGTERM now and SIGKILL after their grace.
    pub fn cancel(&self) {
        let callbacks = {
            let mut state = self.lock();
            state.cancelled = true;
            std::mem::take(&mut state.callbacks)
        };
        // Outside of the lock: a callback may itself ask is_cancelled or drop its guard.
        for callback in callbacks.values() {
            callback();
        }
    }

    /// Whether the switch has been thrown.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.lock().cancelled
    }

    /// Calls `callback` when the switch is thrown (at once if it has been), until the guard is dropped.
    #[must_use = "the callback is forgotten when the guard is dropped"]
    pub fn on_cancel(&self, callback: impl Fn() + Send + Sync + 'static) -> CancelGuard {
        let callback: Callback = Arc::new(callback);
        let id = {
            let mut state = self.lock();
            let id = state.next;
            state.next += 1;
            if !state.cancelled {
                state.callbacks.insert(id, Arc::clone(&callback));
                return CancelGuard {
                    cancel: self.clone(),
                    id,
                };
            }
            id
        };
        callback();
        CancelGuard {
            cancel: self.clone(),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a callback of [`Cancel::on_cancel`] until it is dropped.
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
