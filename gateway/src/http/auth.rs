//! Who may send signals, where that is asked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service::http::Failure;

use super::answer;
use crate::cluster::access::{Access, Verdict};

/// Lets through who bears a token that may `create` on the Gateway's service; everyone where no `Access` is set.
pub async fn authorize(State(access): State<Option<Arc<Access>>>, request: Request, next: Next) -> Response {
    let Some(access) = access else {
        return next.run(request).await;
    };
    let Some(token) = bearer(request.headers()) else {
        return unauthorized("no bearer token was given; send one in the Authorization header");
    };
    match access.judge(token).await {
        Ok(Verdict::Allowed) => next.run(request).await,
        Ok(Verdict::Unknown) => unauthorized("the token is not valid"),
        Ok(Verdict::Forbidden) => Failure::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "Forbidden",
            "the account may not send signals; it needs the verb create on the Gateway's service",
        )
        .into_response(),
        Err(error) => answer::failure(&error).into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn unauthorized(detail: &str) -> Response {
    let mut response =
        Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized", detail).into_response();
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
