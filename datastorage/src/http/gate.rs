//! What a request passes before its handler: authentication, and the limit of one client's requests.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use service::http::Failure;

use crate::auth::{Authenticator, Verb};
use crate::config::RateLimit;
use crate::domain::event::Caller;

/// The gate; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    authenticator: Option<Authenticator>,
    limiter: Option<Arc<DefaultKeyedRateLimiter<String>>>,
}

impl Gate {
    pub(crate) fn new(authenticator: Option<Authenticator>, limit: &RateLimit) -> Self {
        let limiter = NonZeroU32::new(limit.requests_per_second).map(|per_second| {
            let burst = NonZeroU32::new(limit.burst).unwrap_or(per_second);
            Arc::new(RateLimiter::keyed(
                Quota::per_second(per_second).allow_burst(burst),
            ))
        });
        Self {
            authenticator,
            limiter,
        }
    }

    /// Forgets clients that have been quiet, so that the limiter's memory follows those that are there.
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
            let mut failure = Failure::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
                "this client sends more than it may; send batches, or fewer requests",
            );
            failure.retry_after = Some(1);
            failure
        })
    }
}

/// Lets a request in, or answers it.
pub(super) async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0.ip().to_string());
    let mut client = peer.unwrap_or_default();
    if let Some(authenticator) = &gate.authenticator {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        match authenticator
            .check(request.headers(), Verb::of(request.method(), route))
            .await
        {
            Ok(caller) => {
                client.clone_from(&caller.name);
                request.extensions_mut().insert(caller);
            }
            Err(failure) => return failure.into_response(),
        }
    }
    match gate.limit(&client) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// The authenticated caller, where callers are authenticated.
pub(crate) struct Actor(pub(crate) Option<Caller>);

impl Actor {
    /// The caller's name, else what the request says, else that nobody knows.
    pub(super) fn name_or(&self, said: Option<String>) -> String {
        self.0
            .as_ref()
            .map(|caller| caller.name.clone())
            .or(said)
            .unwrap_or_else(|| "anonymous".to_owned())
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<Caller>().cloned()))
    }
}
