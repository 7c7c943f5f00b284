use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;

struct Received {
    token: String,
    text: String,
    at: SystemTime,
}

/// An HTTP server that keeps the checkpoints that it gets.
pub(crate) struct Archive {
    port: u16,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Received>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Archive {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let status = Arc::new(AtomicU16::new(200));
        let received: Arc<Mutex<Vec<_>>> = Arc::default();
        let (answered, kept) = (Arc::clone(&status), Arc::clone(&received));
        let keep = move |headers: HeaderMap, text: String| async move {
            let token = headers
                .get(header::AUTHORIZATION)
                .map_or("", |value| value.to_str().unwrap());
            let token = token.to_owned();
            let at = SystemTime::now();
            kept.lock().unwrap().push(Received { token, text, at });
            StatusCode::from_u16(answered.load(Ordering::Relaxed)).unwrap()
        };
        let routes = Router::new().route("/checkpoints", post(keep));
        runtime.spawn(async { axum::serve(listener, routes).await });
        Self {
            port,
            status,
            received,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/checkpoints", self.port)
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Token and text of the newest request.
    pub(crate) fn newest(&self) -> Option<(String, String)> {
        let received = self.received.lock().unwrap();
        received
            .last()
            .map(|newest| (newest.token.clone(), newest.text.clone()))
    }

    /// Leaves of each checkpoint, and when it came.
    pub(crate) fn sizes(&self) -> Vec<(u64, SystemTime)> {
        let received = self.received.lock().unwrap();
        let size = |text: &str| text.lines().nth(1).unwrap().parse().unwrap();
        received.iter().map(|one| (size(&one.text), one.at)).collect()
    }

    pub(crate) fn forget(&self) {
        self.received.lock().unwrap().clear();
    }
}
