//! A stand-in for DataStorage.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::Value;

/// A DataStorage that keeps each event once, and can be unavailable.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(super) address: SocketAddr,
    inner: Arc<Mutex<Stored>>,
}

#[derive(Default)]
struct Stored {
    unavailable: bool,
    rejecting: bool,
    events: BTreeMap<String, Value>,
}

impl Storage {
    pub(super) async fn start() -> Self {
        let inner = Arc::<Mutex<Stored>>::default();
        let routes = Router::new()
            .route("/api/v1/audit/events/batch", post(store))
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, inner }
    }

    /// Makes it unavailable or available.
    pub(crate) fn set_unavailable(&self, unavailable: bool) {
        self.inner.lock().unwrap().unavailable = unavailable;
    }

    /// Makes it reject all events, or accept them.
    pub(crate) fn set_rejecting(&self, rejecting: bool) {
        self.inner.lock().unwrap().rejecting = rejecting;
    }

    /// The events of this type that are stored.
    pub(crate) fn events(&self, event_type: &str) -> Vec<Value> {
        let inner = self.inner.lock().unwrap();
        inner
            .events
            .values()
            .filter(|event| event["event_type"] == event_type)
            .cloned()
            .collect()
    }
}

async fn store(
    State(stored): State<Arc<Mutex<Stored>>>,
    axum::Json(events): axum::Json<Vec<Value>>,
) -> StatusCode {
    let mut stored = stored.lock().unwrap();
    if stored.unavailable {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if stored.rejecting {
        return StatusCode::BAD_REQUEST;
    }
    for event in events {
        // DataStorage would reject these.
        let read: wire::audit::AuditEvent = serde_json::from_value(event.clone()).unwrap();
        let id = read.event_id.unwrap().to_string();
        if let Some(known) = stored.events.insert(id, event.clone()) {
            assert_eq!(known, event, "the same id with another body");
        }
    }
    StatusCode::CREATED
}
