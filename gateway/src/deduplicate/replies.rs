//! Results for waiting signals.

use super::{Failure, Outcome, Waiting};
use crate::cluster::Error;
use crate::domain::index::Record;

/// Sends the result to the signal that created the request.
pub(super) fn reply_created(waiting: Waiting, record: &Record) {
    let received = waiting.signal.received_time;
    let outcome = Outcome {
        namespace: record.namespace.clone(),
        name: record.name.clone(),
        duplicate: false,
        suppressed: false,
        count: 1,
        first_seen: received,
        last_seen: received,
    };
    // The receiver may be gone.
    let _ = waiting.reply.send(Ok(outcome));
}

/// Sends the results to a counted group. The last one has the stored count; each before it one less.
pub(super) fn reply_counted(group: Vec<Waiting>, stored: &Record) {
    let size = i64::try_from(group.len()).unwrap_or(i64::MAX);
    for (count, waiting) in (stored.count.saturating_sub(size).saturating_add(1)..).zip(group) {
        let _ = waiting.reply.send(Ok(Outcome {
            namespace: stored.namespace.clone(),
            name: stored.name.clone(),
            duplicate: true,
            suppressed: false,
            count,
            first_seen: stored.first_seen,
            last_seen: stored.last_seen,
        }));
    }
}

/// Sends the ended request in its cool-down to a group that is not counted.
pub(super) fn reply_suppressed(group: Vec<Waiting>, ended: &Record) {
    for waiting in group {
        let _ = waiting.reply.send(Ok(Outcome {
            namespace: ended.namespace.clone(),
            name: ended.name.clone(),
            duplicate: true,
            suppressed: true,
            count: ended.count,
            first_seen: ended.first_seen,
            last_seen: ended.last_seen,
        }));
    }
}

/// Sends the error to the whole group. `uncreated` is the name of the request that could not be created.
pub(super) fn fail(group: Vec<Waiting>, error: Error, uncreated: Option<String>) {
    let failure = Failure { error, uncreated };
    for waiting in group {
        let _ = waiting.reply.send(Err(failure.clone()));
    }
}
