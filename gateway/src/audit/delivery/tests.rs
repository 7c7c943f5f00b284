use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode as AxumStatus;
use axum::routing::post;
use serde_json::Value;

use super::*;
use crate::audit::rejected::Folder;
use crate::audit::spool::Settings;

/// A DataStorage that stores all of a batch or none, and is unavailable for its first requests.
#[derive(Clone, Default)]
struct Storage {
    stored: Arc<Mutex<Vec<u64>>>,
    outages: Arc<Mutex<u32>>,
}

async fn batch(State(storage): State<Storage>, body: axum::Json<Vec<Value>>) -> AxumStatus {
    {
        let mut outages = storage.outages.lock().unwrap();
        if *outages > 0 {
            *outages -= 1;
            return AxumStatus::SERVICE_UNAVAILABLE;
        }
    }
    if body.iter().any(|event| event["bad"] == true) {
        return AxumStatus::BAD_REQUEST;
    }
    storage
        .stored
        .lock()
        .unwrap()
        .extend(body.iter().map(|event| event["number"].as_u64().unwrap()));
    AxumStatus::CREATED
}

#[derive(Clone, Default)]
struct Counts(Arc<Mutex<(usize, usize)>>);

impl Observer for Counts {
    fn stored(&self, events: usize) {
        self.0.lock().unwrap().0 += events;
    }

    fn rejected(&self) {
        self.0.lock().unwrap().1 += 1;
    }
}

struct Setup {
    _directory: tempfile::TempDir,
    spool: Arc<Spool>,
    storage: Storage,
    counts: Counts,
    health: watch::Receiver<Health>,
}

async fn setup(outages: u32) -> Setup {
    let storage = Storage {
        outages: Arc::new(Mutex::new(outages)),
        ..Storage::default()
    };
    let routes = Router::new()
        .route("/api/v1/audit/events/batch", post(batch))
        .with_state(storage.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings {
        directory: directory.path().to_owned(),
        ..Settings::default()
    };
    let spool = Arc::new(Spool::open(settings).unwrap());
    let counts = Counts::default();
    let (sender, health) = watch::channel(Health::Unknown);
    let rejected = Arc::new(Rejected::new(directory.path(), 1 << 20));
    let delivery = Delivery::new(
        &url,
        None,
        Arc::clone(&spool),
        Arc::clone(&rejected),
        sender,
        counts.clone(),
    )
    .unwrap();
    tokio::spawn(delivery.run());
    Setup {
        _directory: directory,
        spool,
        storage,
        counts,
        health,
    }
}

async fn append_and_wait(setup: &Setup, events: Vec<Value>) {
    setup
        .spool
        .append(
            events
                .iter()
                .map(|event| event.to_string().into_bytes())
                .collect(),
        )
        .await;
    let mut pending = setup.spool.pending();
    let delivered = pending.wait_for(|pending| pending.events == 0);
    tokio::time::timeout(Duration::from_secs(20), delivered)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn delivers_events_in_order_through_an_outage() {
    let mut setup = setup(3).await;
    append_and_wait(
        &setup,
        (0..1_200)
            .map(|number| serde_json::json!({ "number": number }))
            .collect(),
    )
    .await;
    assert_eq!(
        *setup.storage.stored.lock().unwrap(),
        (0..1_200).collect::<Vec<u64>>()
    );
    assert_eq!(*setup.counts.0.lock().unwrap(), (1_200, 0));
    assert_eq!(*setup.health.borrow_and_update(), Health::Working);
}

#[tokio::test]
async fn rejected_event_is_set_aside_and_blocks_no_other() {
    let setup = setup(0).await;
    let bad = |number: u64| number == 0 || number == 17 || number == 99;
    let event = |number: u64| serde_json::json!({ "number": number, "bad": bad(number), "event_id": format!("x-{number}") });
    append_and_wait(&setup, (0..100).map(event).collect()).await;
    let good: Vec<u64> = (0..100).filter(|number| !bad(*number)).collect();
    assert_eq!(*setup.storage.stored.lock().unwrap(), good);
    assert_eq!(*setup.counts.0.lock().unwrap(), (97, 3));
    let rejected = Folder::new(setup.spool.directory()).list().unwrap();
    let ids: Vec<&str> = rejected.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["x-0", "x-17", "x-99"], "the oldest first");
    assert!(
        rejected[0].1.detail.starts_with("400"),
        "{}",
        rejected[0].1.detail
    );
}
