//! The history as a stream: one event per line, with its proof.
//!
//! Memory is constant: PostgreSQL returns a cursor's rows as the client reads them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use service::http::Failure;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Service, responses};
use crate::domain::event::Micros;
use crate::domain::proof::{Line, Summary};
use crate::domain::query::Filter;
use crate::store::export::{self, Exported};

/// Size of the chunks that are sent.
const CHUNK: usize = 64 * 1024;

/// Streams events with their proofs, chain by chain in the order of storing, as NDJSON. The last line is a summary
/// (`{"type":"summary","events":N,"sha256":"…"}`, the hash of all lines before it): an export without it is
/// incomplete. `datastorage verify-export` verifies the file without a database.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "integrity",
    params(("correlation_id" = Option<String>, Query), ("event_type" = Option<String>, Query),
        ("event_category" = Option<String>, Query), ("event_outcome" = Option<String>, Query),
        ("severity" = Option<String>, Query), ("since" = Option<String>, Query), ("until" = Option<String>, Query),
        ("detail_key" = Option<String>, Query), ("detail_value" = Option<String>, Query)),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub(super) async fn export(
    State(service): State<Service>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Failure> {
    let filter = Filter::read(pairs, Micros::now()).map_err(|invalid| service.invalid(&invalid))?;
    let permit = Arc::clone(&service.exports)
        .try_acquire_owned()
        .map_err(|_| Failure::unavailable("the maximum number of exports is running", 30))?;
    let session = service.shared.database.session().await.map_err(|error| {
        tracing::warn!(%error, "no connection for an export");
        Failure::unavailable("the database is unavailable", 5)
    })?;
    // The channel buffers few events: a slow reader slows the database down, and needs no memory here.
    let (sender, receiver) = mpsc::channel(4);
    let (accepted, is_accepted) = oneshot::channel();
    let task = tokio::spawn(async move {
        let result = export::stream(session, &filter, accepted, &sender).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "an export was cut off");
            let _ = sender.send(Err(())).await;
        }
        result
    });
    // After the response has begun, an error can only cut it off.
    if is_accepted.await.is_err()
        && let Err(error) = task.await.map_err(|error| Failure::internal(&error))?
    {
        return Err(responses::query_failed(&error));
    }
    let body = Body::from_stream(stream::try_unfold(
        Writer::new(receiver, permit),
        Writer::next_chunk,
    ));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Turns events into chunks of lines.
struct Writer {
    receiver: mpsc::Receiver<Result<Exported, ()>>,
    hash: Sha256,
    events: u64,
    ended: bool,
    _permit: OwnedSemaphorePermit,
}

impl Writer {
    fn new(receiver: mpsc::Receiver<Result<Exported, ()>>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            receiver,
            hash: Sha256::new(),
            events: 0,
            ended: false,
            _permit: permit,
        }
    }

    /// An error ends the body without its last chunk, so that the client sees that it is incomplete.
    async fn next_chunk(mut self) -> Result<Option<(Bytes, Self)>, std::io::Error> {
        if self.ended {
            return Ok(None);
        }
        let mut chunk = Vec::with_capacity(CHUNK + 4096);
        while chunk.len() < CHUNK {
            match self.receiver.recv().await {
                Some(Ok(exported)) => {
                    let begin = chunk.len();
                    serde_json::to_writer(&mut chunk, &Line::of(exported)?)?;
                    chunk.push(b'\n');
                    self.hash.update(&chunk[begin..]);
                    self.events += 1;
                }
                Some(Err(())) => return Err(std::io::Error::other("the database failed during an export")),
                None => {
                    self.ended = true;
                    let sha256 = hex::encode(self.hash.finalize_reset());
                    serde_json::to_writer(&mut chunk, &Summary::new(self.events, sha256))?;
                    chunk.push(b'\n');
                    break;
                }
            }
        }
        Ok(Some((Bytes::from(chunk), self)))
    }
}
