//! What a thread's children cost, told to whoever asked before they were started.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a child has used, with all of its own children that it has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Time on a CPU, in user and kernel mode.
    pub cpu: Duration,
    /// The most memory that one single process of them held, in bytes. Several at a time held more.
    pub peak_bytes: u64,
}

/// Told of the children that a thread starts.
pub trait Watch: Send + Sync {
    /// A child was started, with this process number; it leads a group of the same number.
    fn started(&self, pid: u32);
    /// A child has ended. Told before anybody who waits for it goes on.
    fn ended(&self, pid: u32, usage: Usage);
}

thread_local! {
    static WATCH: RefCell<Option<Arc<dyn Watch>>> = const { RefCell::new(None) };
}

/// As long as it lives, the thread that made it has its children watched.
#[must_use = "nothing is watched any more when the guard is dropped"]
pub struct WatchGuard(Option<Arc<dyn Watch>>);

impl fmt::Debug for WatchGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WatchGuard")
    }
}

/// Has every child watched that this thread starts, however deep in other libraries, until the guard is dropped.
pub fn watch_children(watch: Arc<dyn Watch>) -> WatchGuard {
    WatchGuard(WATCH.with_borrow_mut(|current| current.replace(watch)))
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let before = self.0.take();
        WATCH.with_borrow_mut(|current| *current = before);
    }
}

/// Who watches this thread's children.
pub(crate) fn current() -> Option<Arc<dyn Watch>> {
    WATCH.with_borrow(Clone::clone)
}
