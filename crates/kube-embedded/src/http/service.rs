//! Handles one request: authentication, authorization, routing, response.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION};
use serde_json::json;
use tokio::sync::Notify;

use super::request::{Request, Shared};
use super::response::{Reply, json_reply, status_reply, text_reply, typed};
use super::route::{Route, route};
use super::{access, faults, metrics, resource};
use crate::api::Query;
use crate::faults::Kind;
use crate::status::Status;
use crate::{discovery, openapi};

/// The real server's maximum body size in bytes.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// State of a connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// Aborts the connection.
    pub(super) reset: Notify,
    /// Whether its latest request is one to `/faults`, whose response is sent before the connection is closed.
    pub(super) manages_faults: AtomicBool,
}

/// Handles a request.
pub(super) async fn serve(
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    request: hyper::Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let is_watch = query.flag("watch") && head.method == Method::GET;
    let method = head.method.clone();
    let manages_faults = path.starts_with("/faults");
    connection.manages_faults.store(manages_faults, Ordering::Release);
    // A fault is in effect when its creation is acknowledged; the listener cuts the connections a moment later.
    if !manages_faults && shared.faults.is_port_closed() {
        cut(&connection.reset).await;
    }
    let affecting = if manages_faults {
        Vec::new()
    } else {
        shared.faults.affecting(method.as_str(), &path, is_watch)
    };
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let message = format!("Request entity too large: limit is {MAX_BODY}");
            return Ok(status_reply(&Status::plain(
                413,
                "RequestEntityTooLarge",
                message,
            )));
        }
    };
    let mut reset_after = false;
    for fault in &affecting {
        match fault.fault {
            Kind::Latency => {
                tokio::time::sleep(Duration::from_millis(fault.milliseconds.unwrap_or_default())).await
            }
            Kind::Reset => cut(&connection.reset).await,
            Kind::ResetAfter => reset_after = true,
            _ => return Ok(status_reply(&faults::status_of(fault, &path))),
        }
    }
    let request = Request {
        method,
        path,
        query,
        headers: head.headers,
        body,
    };
    let reply = handle(&shared, &request);
    if reset_after {
        cut(&connection.reset).await;
    }
    Ok(reply)
}

/// Never returns: the connection's task is dropped meanwhile.
async fn cut(reset: &Notify) {
    reset.notify_one();
    std::future::pending::<()>().await;
}

fn handle(shared: &Arc<Shared>, request: &Request) -> Reply {
    match dispatch(shared, request) {
        Ok(reply) => reply,
        Err(status) => status_reply(&status),
    }
}

fn dispatch(shared: &Arc<Shared>, request: &Request) -> Result<Reply, Status> {
    let api = &shared.api;
    let user = api
        .auth
        .authenticate(&api.store, request.header(&AUTHORIZATION))?;
    let user = access::impersonated(api, request, user)?;
    let route = route(&request.path);
    if let Route::Resource(target) = route {
        return resource::handle(shared, request, user, target);
    }
    access::authorize_path(api, &user, request)?;
    if let Route::Faults(id) = route {
        return faults::control(shared, request, id.as_deref());
    }
    if route == Route::Compact && request.method == Method::POST {
        api.store.compact();
        return Ok(json_reply(200, &json!({"compacted": api.store.revision()})));
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Status::no_method());
    }
    let served = api.registry.served();
    let accept = request.header(&ACCEPT).unwrap_or_default();
    let value = match route {
        Route::Legacy => discovery::legacy(&served, accept, shared.address),
        Route::Groups => discovery::groups(&served, accept),
        Route::Group(group) => discovery::group(&served, &group),
        Route::Version(group, version) => discovery::version(&served, &group, &version),
        Route::OpenApi(path) => openapi::document(&served, &path),
        Route::ServerVersion => Some(discovery::server_version()),
        Route::Root => Some(discovery::paths(&served)),
        Route::Health => return Ok(text_reply(200, "ok")),
        Route::Metrics => {
            return Ok(typed(
                200,
                metrics::CONTENT_TYPE,
                shared.metrics.text(&api.store).into(),
            ));
        }
        Route::OpenApiV2 => return Ok(typed(200, openapi::V2_TYPE, Bytes::from_static(openapi::V2))),
        _ => None,
    };
    Ok(match value {
        Some(value) if discovery::is_aggregated(&value) => {
            typed(200, discovery::AGGREGATED, value.to_string().into())
        }
        Some(value) => json_reply(200, &value),
        None => text_reply(404, "404 page not found\n"),
    })
}
