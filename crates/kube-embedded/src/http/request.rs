//! A request, and the state shared by all requests.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName};

use super::metrics::Metrics;
use crate::api::{Api, Query};
use crate::faults::Faults;

/// State shared by all requests.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) api: Arc<Api>,
    pub(super) faults: Arc<Faults>,
    pub(super) metrics: Metrics,
    pub(super) address: std::net::SocketAddr,
}

/// The parts of a request.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// The value of a header, if it is present and valid text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
