//! The history as a stream: one event per line, with its proof.
//!
//! Memory is constant: PostgreSQL returns a cursor's rows as the client reads them.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use service::http::Failure;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::{Service, responses};
use crate::domain::event::Micros;
use crate::domain::export::{ExportKeys, Header, Line, Summary};
use crate::domain::query::Filter;
use crate::store::export::{self, Exported, Signed};

/// Size of the chunks that are sent.
const CHUNK: usize = 64 * 1024;

/// Streams events with their proofs, chain by chain in the order of storing, as NDJSON. The first line is the signed
/// checkpoint whose tree has the events, if there is one. The last line is a summary with the number of events, the hash
/// of all lines before it, and a signature: an export without it is incomplete. `datastorage verify-export` verifies the
/// file without a database, with the public key alone.
#[utoipa::path(get, path = "/api/v1/audit/export", tag = "integrity",
    params(("correlation_id" = Option<String>, Query), ("event_type" = Option<String>, Query),
        ("event_category" = Option<String>, Query), ("event_outcome" = Option<String>, Query),
        ("severity" = Option<String>, Query), ("since" = Option<String>, Query), ("until" = Option<String>, Query),
        ("detail_key" = Option<String>, Query), ("detail_value" = Option<String>, Query)),
    responses((status = 200, body = String, content_type = "application/x-ndjson")))]
pub(super) async fn export(
    State(service): State<Service>,
    RawQuery(query): RawQuery,
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
    let tiles = service.shared.database.pool().clone();
    let task = tokio::spawn(async move {
        let result = export::stream(session, &tiles, &filter, accepted, &sender).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "an export was cut off");
            let _ = sender.send(Err(())).await;
        }
        result
    });
    // After the response has begun, an error can only cut it off.
    let checkpoint = match is_accepted.await {
        Ok(checkpoint) => checkpoint,
        Err(_) => match task.await.map_err(|error| Failure::internal(&error))? {
            Err(error) => return Err(responses::query_failed(&error)),
            Ok(()) => None,
        },
    };
    let writer = Writer {
        receiver,
        hash: Sha256::new(),
        events: 0,
        query: query.unwrap_or_default(),
        checkpoint,
        keys: ExportKeys {
            log: service.shared.log_key.clone(),
            chain: service.shared.trust.chain.at(Micros::now()).cloned(),
        },
        progress: Progress::Header,
        _permit: permit,
    };
    let body = Body::from_stream(stream::try_unfold(writer, Writer::next_chunk));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Turns events into chunks of lines.
struct Writer {
    receiver: mpsc::Receiver<Result<Exported, ()>>,
    hash: Sha256,
    events: u64,
    query: String,
    checkpoint: Option<Signed>,
    keys: ExportKeys,
    progress: Progress,
    _permit: OwnedSemaphorePermit,
}

#[derive(PartialEq)]
enum Progress {
    Header,
    Events,
    Ended,
}

impl Writer {
    /// An error ends the body without its last chunk, so that the client sees that it is incomplete.
    async fn next_chunk(mut self) -> Result<Option<(Bytes, Self)>, std::io::Error> {
        if self.progress == Progress::Ended {
            return Ok(None);
        }
        let mut chunk = Vec::with_capacity(CHUNK + 4096);
        if self.progress == Progress::Header {
            if let Some((_, note)) = &self.checkpoint {
                serde_json::to_writer(&mut chunk, &Header::new(note))?;
                chunk.push(b'\n');
                self.hash.update(&chunk);
            }
            self.progress = Progress::Events;
        }
        while chunk.len() < CHUNK {
            match self.receiver.recv().await {
                Some(Ok((stored, leaf))) => {
                    let begin = chunk.len();
                    serde_json::to_writer(&mut chunk, &Line::of(stored, leaf)?)?;
                    chunk.push(b'\n');
                    self.hash.update(&chunk[begin..]);
                    self.events += 1;
                }
                Some(Err(())) => return Err(std::io::Error::other("the database failed during an export")),
                None => {
                    serde_json::to_writer(&mut chunk, &self.summary()?)?;
                    chunk.push(b'\n');
                    self.progress = Progress::Ended;
                    break;
                }
            }
        }
        Ok(Some((Bytes::from(chunk), self)))
    }

    fn summary(&mut self) -> Result<Summary, std::io::Error> {
        let sha256 = hex::encode(self.hash.finalize_reset());
        let checkpoint = self.checkpoint.as_ref().map(|(checkpoint, _)| checkpoint);
        let query = std::mem::take(&mut self.query);
        Summary::new(query, self.events, sha256, checkpoint, &self.keys).map_err(std::io::Error::other)
    }
}
