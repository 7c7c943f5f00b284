//! CPU and memory of the children of a thread.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Resources that a child used, with all of its own children that it has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time in user and kernel mode.
    pub cpu: Duration,
    /// Maximum resident memory of a single process among them, in bytes.
    pub peak_bytes: u64,
}

/// Observer of the children that a thread starts.
pub trait Watch: Send + Sync {
    /// A child was started; its process id is also the id of its group.
    fn started(&self, pid: u32);
    /// A child has exited. Called before the calls that wait for the child return.
    fn ended(&self, pid: u32, usage: Usage);
}

thread_local! {
    static WATCH: RefCell<Option<Arc<dyn Watch>>> = const { RefCell::new(None) };
}

/// Stops the observation of this thread's children on drop.
#[must_use = "the observation ends when the guard is dropped"]
pub struct WatchGuard(Option<Arc<dyn Watch>>);

impl fmt::Debug for WatchGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WatchGuard")
    }
}

/// Observes every child that this thread starts, also from other libraries, until the guard is dropped.
pub fn watch_children(watch: Arc<dyn Watch>) -> WatchGuard {
    WatchGuard(WATCH.with_borrow_mut(|current| current.replace(watch)))
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let before = self.0.take();
        WATCH.with_borrow_mut(|current| *current = before);
    }
}

/// Returns the observer of this thread's children.
pub(crate) fn current() -> Option<Arc<dyn Watch>> {
    WATCH.with_borrow(Clone::clone)
}
