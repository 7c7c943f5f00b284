use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;

/// An HTTP server that keeps the checkpoints that it gets.
pub(crate) struct Archive {
    port: u16,
    status: Arc<AtomicU16>,
    /// Token and text of each request.
    received: Arc<Mutex<Vec<(String, String)>>>,
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
            kept.lock().unwrap().push((token.to_owned(), text));
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
        self.received.lock().unwrap().last().cloned()
    }

    pub(crate) fn forget(&self) {
        self.received.lock().unwrap().clear();
    }
}
