//! Memory for signals in process.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::stored::{MAX_PAYLOAD_BYTES, MAX_TEXTS_BYTES};

/// Memory of all signals in process, in bytes. Further ones wait.
const TOTAL: usize = 32 << 20;
/// The unit of the semaphore.
const UNIT: usize = 1 << 10;
/// Copies of a signal's text in process: as read, as a request, as its JSON and in the connection.
const COPIES: usize = 6;
/// Memory of the smallest signal.
const SMALLEST: usize = 4 << 10;

/// Bounds the memory of signals in process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(TOTAL / UNIT)))
    }
}

impl Room {
    /// Waits for the memory of a signal that is parsed from so many bytes.
    pub async fn acquire(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let stored = bytes.min(2 * MAX_TEXTS_BYTES + MAX_PAYLOAD_BYTES);
        let units = (SMALLEST + COPIES * stored).div_ceil(UNIT);
        // The semaphore is never closed.
        self.0
            .acquire_many(u32::try_from(units).unwrap_or(u32::MAX))
            .await
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_largest_signals_wait_for_each_other() {
        let room = Room::default();
        let mut held = Vec::new();
        while let Some(Some(permit)) = futures::FutureExt::now_or_never(room.acquire(usize::MAX)) {
            held.push(permit);
        }
        assert!((50..200).contains(&held.len()), "{}", held.len());
        held.pop();
        assert!(futures::FutureExt::now_or_never(room.acquire(1)).is_some());
    }
}
