//! Cancellation: a flag with callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::outcome::Cause;

type Callback = Box<dyn FnOnce() + Send>;

/// A callback's slot: emptied by the cancellation or by the guard's drop, whichever is first. It is locked while
/// the callback runs, so that the guard's drop waits for it: afterwards the callback never touches what it
/// guards (a process id that may belong to another process by then).
type Slot = Arc<Mutex<Option<Callback>>>;

/// Set once, never reset.
#[derive(Clone, Default)]
pub(crate) struct Token(Arc<TokenInner>);

#[derive(Default)]
struct TokenInner {
    state: Mutex<TokenState>,
    changed: Condvar,
}

#[derive(Default)]
struct TokenState {
    cause: Option<Cause>,
    slots: Vec<Slot>,
}

/// While it lives, the callback given to [`Context::on_cancel`](crate::Context::on_cancel) is called on
/// cancellation. Its drop waits for a running callback; so a callback must not drop its own guard.
#[must_use = "the callback is removed when the guard is dropped"]
pub struct OnCancel {
    token: Weak<TokenInner>,
    slot: Slot,
}

/// A poisoned lock only means that a callback panicked: the data behind it is intact.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn call(slot: &Slot) {
    let mut callback = lock(slot);
    if let Some(callback) = callback.take() {
        // A panicking callback must neither prevent the others nor end the run.
        let _ = catch_unwind(AssertUnwindSafe(callback));
    }
}

impl Token {
    /// The first cause is kept.
    pub(crate) fn cancel(&self, cause: Cause) {
        let slots = {
            let mut state = lock(&self.0.state);
            if state.cause.is_some() {
                return;
            }
            state.cause = Some(cause);
            std::mem::take(&mut state.slots)
        };
        self.0.changed.notify_all();
        slots.iter().for_each(call);
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        lock(&self.0.state).cause.clone()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        lock(&self.0.state).cause.is_some()
    }

    pub(crate) fn on_cancel(&self, callback: Callback) -> OnCancel {
        let slot = Arc::new(Mutex::new(Some(callback)));
        let cancelled = {
            let mut state = lock(&self.0.state);
            if state.cause.is_none() {
                state.slots.push(slot.clone());
            }
            state.cause.is_some()
        };
        if cancelled {
            call(&slot);
        }
        OnCancel {
            token: Arc::downgrade(&self.0),
            slot,
        }
    }

    /// Waits for the cancellation, at most `timeout`; returns whether it happened.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        // A timeout beyond the clock's range is unlimited.
        let deadline = Instant::now().checked_add(timeout);
        let mut state = lock(&self.0.state);
        while state.cause.is_none() {
            let left = deadline.map_or(timeout, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            state = self
                .0
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        if let Some(token) = self.token.upgrade() {
            lock(&token.state)
                .slots
                .retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        }
        lock(&self.slot).take();
    }
}

/// Cancels a run from outside (Ctrl-C). Cheap to clone; usable from any thread, before and during the run.
///
/// The first [`cancel`](Self::cancel) cancels running tasks and starts no other, but `always` tasks still
/// run; [`abandon`](Self::abandon) cancels these too.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<InterruptInner>);

#[derive(Default)]
struct InterruptInner {
    work: Token,
    always: Token,
}

impl Interrupt {
    /// An interrupt that was not triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels all tasks except `always` ones. `reason` is for people, for example `Ctrl-C`.
    pub fn cancel(&self, reason: impl Into<String>) {
        self.0.work.cancel(Cause::Interrupted {
            reason: reason.into(),
        });
    }

    /// Cancels all tasks, including `always` ones.
    pub fn abandon(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.0.work.cancel(Cause::Interrupted {
            reason: reason.clone(),
        });
        self.0.always.cancel(Cause::Interrupted { reason });
    }

    /// Whether [`cancel`](Self::cancel) or [`abandon`](Self::abandon) was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.work.is_cancelled()
    }

    pub(crate) fn tokens(&self) -> (&Token, &Token) {
        (&self.0.work, &self.0.always)
    }
}
