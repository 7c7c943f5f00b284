use super::*;
use crate::audit::spool::Settings;

fn event(number: u64) -> Stored {
    Stored {
        time_ms: 0,
        text: format!(r#"{{"event_id":"id-{number}","event_type":"a.b","correlation_id":"rr-{number}"}}"#)
            .into_bytes(),
    }
}

fn ids(folder: &Folder) -> Vec<String> {
    folder.list().unwrap().into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn rejected_event_is_sent_again_unchanged_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Arc::new(
        Spool::open(Settings {
            directory: directory.path().to_owned(),
            ..Settings::default()
        })
        .unwrap(),
    );
    let rejected = Arc::new(Rejected::new(directory.path(), 1 << 20));
    for number in 0..3 {
        rejected.keep(&event(number), "400 Bad Request");
    }
    let folder = Folder::new(directory.path());
    assert_eq!(ids(&folder), ["id-0", "id-1", "id-2"]);
    assert!(folder.remove("id-0").unwrap());
    assert!(folder.retry("id-2").unwrap() && folder.retry("id-1").unwrap());
    assert!(!folder.retry("id-1").unwrap() && !folder.remove("id-9").unwrap());

    let mut counts = rejected.counts();
    let running = tokio::spawn(Arc::clone(&rejected).run(Arc::clone(&spool)));
    let batch = tokio::time::timeout(Duration::from_secs(10), spool.next(10, 1 << 20))
        .await
        .unwrap();
    assert_eq!(batch.events.len(), 2);
    assert_eq!(
        [&batch.events[0].text, &batch.events[1].text],
        [&event(1).text, &event(2).text],
        "in the order of their rejections"
    );
    tokio::time::timeout(
        Duration::from_secs(10),
        counts.wait_for(|counts| counts.kept == 0),
    )
    .await
    .unwrap()
    .unwrap();
    running.abort();
    assert_eq!(entries(&directory.path().join("retry"), 10).unwrap().len(), 0);
    assert_eq!(ids(&folder), Vec::<String>::new());
}

#[test]
fn events_wait_in_memory_for_space_and_are_counted_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    // A file in the place of the folder: nothing can be written.
    fs::write(directory.path().join("rejected"), "").unwrap();
    let rejected = Rejected::new(directory.path(), 1 << 20);
    let total = MAX_WAITING as u64 + 5;
    for number in 0..total {
        rejected.keep(&event(number), "400");
    }
    let (kept, lost) = (MAX_WAITING as u64, 5);
    assert_eq!(*rejected.counts().borrow(), Counts { kept, lost });
    fs::remove_file(directory.path().join("rejected")).unwrap();
    rejected.refresh();
    assert_eq!(*rejected.counts().borrow(), Counts { kept, lost });
    assert_eq!(ids(&Folder::new(directory.path())).len() as u64, kept);
    let restarted = Rejected::new(directory.path(), 1 << 20);
    assert_eq!(*restarted.counts().borrow(), Counts { kept, lost: 0 });
}

#[test]
fn folder_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let rejected = Rejected::new(directory.path(), 1_000);
    for number in 0..2_000 {
        rejected.keep(&event(number), "400");
    }
    let Counts { kept, lost } = rejected.counts().borrow().clone();
    assert_eq!(kept + lost, 2_000);
    let files = ids(&Folder::new(directory.path())).len();
    assert!((1..20).contains(&files), "{files} files");
    assert_eq!(kept as usize, files + MAX_WAITING);
}

#[test]
fn id_that_cannot_be_a_file_name_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let rejected = Rejected::new(directory.path(), 1 << 20);
    for text in [r#"{"event_id":"../../x"}"#, r#"{"event_id":7}"#, "{}"] {
        let text = text.as_bytes().to_vec();
        rejected.keep(&Stored { time_ms: 0, text }, "400");
    }
    let ids = ids(&Folder::new(directory.path()));
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
}
