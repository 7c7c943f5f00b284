//! The transparency log in C2SP's forms: public key, checkpoint, tiles and proofs.

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use service::http::Failure;
use tlog::{Checkpoint, Note, Proof, Tile};
use tokio_postgres::Client;
use uuid::Uuid;
use wire::problem::Problem;

use super::{Service, responses};
use crate::domain::fields::Reason;
use crate::domain::parameters::Parameters;
use crate::store::log::{self, TreeError};

/// Seconds after which a new event usually has its place.
const RETRY_AFTER: u64 = 2;

/// Returns the public key of the checkpoints, as a verifier key of C2SP's signed-note.
#[utoipa::path(get, path = "/api/v1/audit/log/key", tag = "integrity",
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "This deployment signs no checkpoints")))]
pub(super) async fn key(State(service): State<Service>) -> Result<String, Failure> {
    let key = service.shared.log_key.as_deref().ok_or_else(unsigned)?;
    Ok(format!("{}\n", key.verifier()))
}

/// Returns the newest signed checkpoint (C2SP tlog-checkpoint).
#[utoipa::path(get, path = "/api/v1/audit/log/checkpoint", tag = "integrity",
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "There is no checkpoint yet")))]
pub(super) async fn checkpoint(State(service): State<Service>) -> Result<String, Failure> {
    let connection = service.connection().await?;
    let client: &Client = &connection;
    let (_, note) = newest(client).await?;
    Ok(note.to_string())
}

/// Returns a tile of the tree (C2SP tlog-tiles): up to 256 hashes of 32 bytes.
#[utoipa::path(get, path = "/api/v1/audit/log/tile/{path}", tag = "integrity", params(("path" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "The tree has no such tile")))]
pub(super) async fn tile(
    State(service): State<Service>,
    Path(path): Path<String>,
) -> Result<Response, Failure> {
    let missing = || Failure::not_found(format!("the tree has no tile {path:?}"));
    let tile: Tile = format!("tile/{path}").parse().map_err(|_| missing())?;
    let connection = service.connection().await?;
    let client: &Client = &connection;
    let hashes = log::tile(client, tile.level().into(), tile.index())
        .await
        .map_err(|error| responses::query_failed(&error))?
        .filter(|hashes| hashes.len() >= usize::from(tile.width()) * 32)
        .ok_or_else(missing)?;
    let hashes = Bytes::from(hashes).slice(..usize::from(tile.width()) * 32);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], hashes).into_response())
}

/// Proves that an event is in the log: index, hashes and signed checkpoint (C2SP tlog-proof).
#[utoipa::path(get, path = "/api/v1/audit/log/proof/inclusion", tag = "integrity",
    params(("event_id" = Uuid, Query)),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No such event, or it is too new for the last checkpoint")))]
pub(super) async fn inclusion(
    State(service): State<Service>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<String, Failure> {
    let mut parameters = Parameters::new(pairs);
    let event_id = parameters.parsed("event_id", |text| Uuid::parse_str(text).ok(), "a UUID");
    if event_id.is_none() {
        parameters.reject("event_id", Reason::Required, "is required; a UUID");
    }
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    let event_id = event_id.unwrap_or_default();
    let connection = service.connection().await?;
    let client: &Client = &connection;
    let (checkpoint, note) = newest(client).await?;
    let index = log::leaf_of(client, event_id)
        .await
        .map_err(|error| responses::query_failed(&error))?
        .filter(|index| *index < checkpoint.size)
        .ok_or_else(|| {
            Failure::not_found(format!(
                "no event {event_id} in the checkpoint of {} leaves; a new event is in one after about {RETRY_AFTER} seconds",
                checkpoint.size
            ))
        })?;
    let hashes = log::inclusion(client, index, checkpoint.size)
        .await
        .map_err(|error| no_proof(&error))?;
    let proof = Proof {
        extra: None,
        index,
        hashes,
        checkpoint: note,
    };
    Ok(proof.to_string())
}

/// Proves that a tree extends an earlier one: a Base64 hash in each line (RFC 6962, 2.1.2).
#[utoipa::path(get, path = "/api/v1/audit/log/proof/consistency", tag = "integrity",
    params(("from" = i64, Query, minimum = 0), ("to" = i64, Query, minimum = 0)),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn consistency(
    State(service): State<Service>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<String, Failure> {
    let connection = service.connection().await?;
    let client: &Client = &connection;
    let size = log::size(client)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    let mut parameters = Parameters::new(pairs);
    let max = i64::try_from(size).unwrap_or(i64::MAX);
    let to = parameters.integer("to", 0, max).unwrap_or(max);
    let from = parameters.integer("from", 0, to).unwrap_or(0);
    parameters.finish().map_err(|invalid| service.invalid(&invalid))?;
    let as_size = |size: i64| u64::try_from(size).unwrap_or(0);
    let proof = log::consistency(client, as_size(from), as_size(to))
        .await
        .map_err(|error| no_proof(&error))?;
    Ok(proof
        .iter()
        .map(|hash| format!("{}\n", STANDARD.encode(hash)))
        .collect())
}

/// The newest checkpoint, signed.
async fn newest(client: &Client) -> Result<(Checkpoint, Note), Failure> {
    let text = log::checkpoint(client)
        .await
        .map_err(|error| responses::query_failed(&error))?
        .ok_or_else(unsigned)?;
    let note = Note::from_bytes(text.as_bytes()).map_err(|error| Failure::internal(&error))?;
    let checkpoint = note.text().parse().map_err(|error| Failure::internal(&error))?;
    Ok((checkpoint, note))
}

fn unsigned() -> Failure {
    Failure::not_found("there is no signed checkpoint: transparency.key_file is not set, or the log is empty")
}

fn no_proof(error: &TreeError) -> Failure {
    match error {
        TreeError::Postgresql(error) => responses::query_failed(error),
        TreeError::Missing(_) | TreeError::Invalid(_) => Failure::internal(error),
    }
}
