//! Verification of a chain.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use service::http::{Failure, RawBody};
use utoipa::ToSchema;
use wire::problem::Problem;

use super::{Service, responses};
use crate::domain::fields::{Fields, Invalid};
use crate::domain::verification::ChainVerification;
use crate::store::chains;

/// The chain to verify.
#[derive(ToSchema)]
pub(super) struct VerifyChainRequest {
    /// The chain's correlation.
    #[schema(min_length = 1, max_length = 255)]
    correlation_id: String,
}

impl VerifyChainRequest {
    fn read(text: &[u8]) -> Result<Self, Vec<Invalid>> {
        let mut fields = Fields::parse(text)?;
        let correlation_id = fields.required_text("correlation_id", 255);
        fields.finish()?;
        Ok(Self { correlation_id })
    }
}

/// Verifies that nothing in a chain was altered, inserted or removed.
#[utoipa::path(post, path = "/api/v1/audit/verify-chain", tag = "integrity", request_body = VerifyChainRequest,
    responses((status = 200, body = ChainVerification),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No event has that correlation")))]
pub(super) async fn verify(
    State(service): State<Service>,
    RawBody(body): RawBody,
) -> Result<Json<ChainVerification>, Failure> {
    let begin = Instant::now();
    let VerifyChainRequest { correlation_id } =
        VerifyChainRequest::read(&body).map_err(|invalid| service.invalid(&invalid))?;
    let mut client = service.connection().await?;
    let verification = chains::verify_chain(&mut client, &correlation_id, &service.shared.trust)
        .await
        .map_err(|error| responses::query_failed(&error))?;
    service.queried("verify_chain", begin);
    verification
        .map(Json)
        .ok_or_else(|| Failure::not_found(format!("no event has the correlation_id {correlation_id:?}")))
}
