use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use super::*;

fn settings(directory: &Path) -> Settings {
    Settings {
        directory: directory.to_owned(),
        segment_bytes: 100,
        ..Settings::default()
    }
}

fn texts(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    numbers
        .map(|number| format!("event-{number:04}").into_bytes())
        .collect()
}

/// The state for a process that starts after this one was killed: a copy of the current files.
fn killed(spool: &Spool) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(spool.directory()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Reads and acknowledges all events, `max` at a time.
async fn drain(spool: &Spool, max: usize) -> Vec<Vec<u8>> {
    let mut drained = Vec::new();
    while spool.pending().borrow().events > 0 {
        let batch = spool.next(max, 1 << 20).await;
        drained.extend(batch.events.iter().map(|event| event.text.clone()));
        spool.delivered(&batch);
    }
    drained
}

#[tokio::test]
async fn stored_events_survive_a_kill_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(directory.path())).unwrap();
    for start in (0..50).step_by(5) {
        spool.append(texts(start..start + 5)).await;
    }
    let copy = killed(&spool);
    let next = Spool::open(settings(copy.path())).unwrap();
    assert_eq!(next.pending().borrow().events, 50);
    next.append(texts(50..60)).await;
    assert_eq!(drain(&next, 7).await, texts(0..60));
    assert_eq!(drain(&spool, 1_000).await, texts(0..50));
}

#[tokio::test]
async fn delivered_events_are_not_returned_again_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(directory.path())).unwrap();
    spool.append(texts(0..20)).await;
    let mut delivered = 0;
    while delivered < 20 {
        let batch = spool.next(3, 1 << 20).await;
        delivered += batch.events.len();
        spool.delivered(&batch);
        let copy = killed(&spool);
        let next = Spool::open(settings(copy.path())).unwrap();
        assert_eq!(next.pending().borrow().events, 20 - delivered as u64);
        assert_eq!(drain(&next, 100).await, texts(delivered..20), "after {delivered}");
        next.append(texts(90..91)).await;
        assert_eq!(
            drain(&next, 100).await,
            texts(90..91),
            "after {delivered}, appended"
        );
    }
    assert_eq!(
        *spool.pending().borrow(),
        Pending {
            bytes: spool.pending().borrow().bytes,
            ..Pending::default()
        }
    );
}

#[tokio::test]
async fn incomplete_event_is_skipped() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(directory.path())).unwrap();
    spool.append(texts(0..3)).await;
    let copy = killed(&spool);
    let last = segment::path(copy.path(), *segment::list(copy.path()).unwrap().last().unwrap());
    let length = fs::metadata(&last).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&last)
        .unwrap()
        .set_len(length - 1)
        .unwrap();
    let next = Spool::open(settings(copy.path())).unwrap();
    next.append(texts(3..5)).await;
    let expected: Vec<_> = texts(0..2).into_iter().chain(texts(3..5)).collect();
    assert_eq!(drain(&next, 100).await, expected);
}

#[tokio::test]
async fn flipped_bits_cost_their_events_alone_are_counted_and_the_file_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let large = Settings {
        segment_bytes: 1 << 20,
        ..settings(directory.path())
    };
    let spool = Spool::open(large.clone()).unwrap();
    spool.append(texts(0..100)).await;
    let record = segment::HEADER + 10;
    for damaged in [0, 30, 31, 99] {
        let path = segment::path(directory.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[damaged * record + damaged % record] ^= 1;
        fs::write(&path, &bytes).unwrap();
    }
    let kept: Vec<_> = [1..30, 32..99].into_iter().flat_map(texts).collect();

    // After a restart.
    let copy = killed(&spool);
    let next = Spool::open(Settings {
        directory: copy.path().to_owned(),
        ..large
    })
    .unwrap();
    let pending = next.pending().borrow().clone();
    assert_eq!((pending.events, pending.lost), (96, 4));
    assert_eq!(drain(&next, 7).await, kept);
    assert_eq!(
        (next.pending().borrow().lost, next.pending().borrow().corrupt),
        (4, 1)
    );
    assert!(segment::path(copy.path(), 1).with_extension("corrupt").exists());
    drop(next);
    let again = Spool::open(settings(copy.path())).unwrap();
    let pending = again.pending().borrow().clone();
    assert_eq!((pending.events, pending.lost, pending.corrupt), (0, 0, 1));

    // In the running process.
    assert_eq!(drain(&spool, 7).await, kept);
    let pending = spool.pending().borrow().clone();
    assert_eq!((pending.events, pending.lost), (0, 4));
}

#[tokio::test]
async fn full_disk_leaves_one_file_and_loses_nothing_that_memory_can_hold() {
    static FULL: AtomicBool = AtomicBool::new(true);
    /// Writes half of the block to a full disk.
    fn write(file: &File, offset: u64, block: &[u8], fsync: bool) -> std::io::Result<()> {
        if !FULL.load(Ordering::Relaxed) {
            return writer::write(file, offset, block, fsync);
        }
        writer::write(file, offset, &block[..block.len() / 2], false)?;
        Err(std::io::ErrorKind::StorageFull.into())
    }
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open_with(settings(directory.path()), write).unwrap();
    for start in 0..50 {
        spool.append(texts(start..start + 1)).await;
    }
    assert_eq!(segment::list(directory.path()).unwrap().len(), 1);
    let pending = spool.pending().borrow().clone();
    assert_eq!((pending.events, pending.in_memory, pending.lost), (0, 50, 0));
    FULL.store(false, Ordering::Relaxed);
    spool.append(texts(50..51)).await;
    let copy = killed(&spool);
    assert_eq!(drain(&spool, 100).await, texts(0..51));
    let next = Spool::open(settings(copy.path())).unwrap();
    assert_eq!(drain(&next, 100).await, texts(0..51), "after a kill");
}

#[tokio::test]
async fn full_spool_keeps_events_in_memory_then_counts_losses() {
    let directory = tempfile::tempdir().unwrap();
    let small = Settings {
        max_bytes: 380,
        memory_events: 5,
        ..settings(directory.path())
    };
    let spool = Spool::open(small).unwrap();
    spool.append(texts(0..20)).await;
    let pending = spool.pending().borrow().clone();
    assert_eq!((pending.events, pending.in_memory, pending.lost), (10, 5, 5));
    assert!(pending.trouble.unwrap().contains("spool.max_bytes = 380"));
    let batch = spool.next(100, 1 << 20).await;
    spool.delivered(&batch);
    let mut waits = spool.pending();
    let roomy = waits.wait_for(|pending| pending.in_memory == 0 && pending.trouble.is_none());
    tokio::time::timeout(Duration::from_secs(10), roomy)
        .await
        .unwrap()
        .unwrap();
    let taken = batch.events.len();
    assert_eq!(
        drain(&spool, 100).await,
        texts(taken..15),
        "the oldest are kept, in order"
    );
}

#[tokio::test]
async fn two_processes_cannot_share_a_folder() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(directory.path())).unwrap();
    let rejected = Spool::open(settings(directory.path())).err().unwrap().to_string();
    assert!(rejected.contains("another process uses it"), "{rejected}");
    drop(spool);
    Spool::open(settings(directory.path())).unwrap();
}

#[tokio::test]
async fn append_wakes_a_waiting_reader() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(settings(directory.path())).unwrap());
    let reader = Arc::clone(&spool);
    let read = tokio::spawn(async move { reader.next(10, 1 << 20).await.events });
    tokio::task::yield_now().await;
    spool.append(texts(0..1)).await;
    let events = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(events[0].text, texts(0..1)[0]);
}

#[tokio::test]
async fn missing_segment_blocks_no_other_and_is_counted_as_lost() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(settings(directory.path())).unwrap();
    for start in 0..8 {
        spool.append(texts(start..start + 1)).await;
    }
    let first = segment::path(directory.path(), segment::list(directory.path()).unwrap()[0]);
    fs::write(first, b"").unwrap();
    let drained = drain(&spool, 100).await;
    let pending = spool.pending().borrow().clone();
    assert_eq!((pending.lost + drained.len() as u64, pending.events), (8, 0));
    assert!(pending.lost > 0 && drained.last() == texts(7..8).first());
}
