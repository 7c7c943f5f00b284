//! Authentication and rate limit before a handler.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use service::auth::{Authorizer, Client};
use service::http::Failure;

use crate::config::RateLimit;

/// The gate; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    authorizer: Option<Authorizer>,
    limiter: Option<Arc<DefaultKeyedRateLimiter<String>>>,
}

impl Gate {
    pub(crate) fn new(authorizer: Option<Authorizer>, limit: &RateLimit) -> Self {
        let limiter = NonZeroU32::new(limit.requests_per_second).map(|per_second| {
            let burst = NonZeroU32::new(limit.burst).unwrap_or(per_second);
            Arc::new(RateLimiter::keyed(
                Quota::per_second(per_second).allow_burst(burst),
            ))
        });
        Self { authorizer, limiter }
    }

    /// Removes idle clients, so that the limiter's memory follows the active ones.
    pub(crate) fn forget_quiet_clients(&self) {
        if let Some(limiter) = &self.limiter {
            limiter.retain_recent();
        }
    }

    fn limit(&self, client: &str) -> Result<(), Failure> {
        let Some(limiter) = &self.limiter else {
            return Ok(());
        };
        limiter.check_key(&client.to_owned()).map_err(|_| {
            Failure::too_many_requests(
                "this client exceeds its rate limit; send batches, or fewer requests",
                1,
            )
        })
    }
}

/// Passes a request on, or rejects it.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip().to_string());
    let mut client = peer.unwrap_or_default();
    if let Some(authorizer) = &gate.authorizer {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        let verb = verb(request.method(), route);
        match authorizer.authorize(request.headers(), verb).await {
            Ok(authenticated) => {
                client.clone_from(&authenticated.name);
                request.extensions_mut().insert(authenticated);
            }
            Err(failure) => return failure.into_response(),
        }
    }
    match gate.limit(&client) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// The verb of a request: `get` for reading, `create` for writing, `update` for holds and changes of the catalogue,
/// `delete` for erasing event data.
/// Verifying and searching read, although they have a body.
fn verb(method: &Method, route: &str) -> &'static str {
    match (method, route) {
        (&Method::GET | &Method::HEAD, _) => "get",
        (_, "/api/v1/audit/verify-chain" | "/api/v1/workflows/search") => "get",
        (_, route) if route.starts_with("/api/v1/audit/legal-hold") => "update",
        (&Method::DELETE, "/api/v1/audit/events/{event_id}/data") => "delete",
        (&Method::POST, _) => "create",
        _ => "update",
    }
}

/// The authenticated client, with authentication.
pub(crate) struct Actor(pub(crate) Option<Client>);

impl Actor {
    /// The client's name, otherwise the one in the request, otherwise unknown.
    pub(super) fn name_or(&self, said: Option<String>) -> String {
        self.0
            .as_ref()
            .map(|client| client.name.clone())
            .or(said)
            .unwrap_or_else(|| "anonymous".to_owned())
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Client>().cloned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_follow_from_method_and_route() {
        for (method, route, verb) in [
            (Method::GET, "/api/v1/audit/events", "get"),
            (Method::POST, "/api/v1/audit/events", "create"),
            (Method::POST, "/api/v1/audit/verify-chain", "get"),
            (Method::POST, "/api/v1/workflows/search", "get"),
            (Method::POST, "/api/v1/workflows", "create"),
            (Method::PATCH, "/api/v1/workflows/{workflow_id}", "update"),
            (Method::POST, "/api/v1/audit/legal-hold", "update"),
            (
                Method::DELETE,
                "/api/v1/audit/legal-hold/{correlation_id}",
                "update",
            ),
        ] {
            assert_eq!(super::verb(&method, route), verb, "{method} {route}");
        }
    }
}
