//! Faults over HTTP: management at `/faults`, and the responses of affected requests.

use hyper::Method;
use serde_json::json;

use super::request::{Request, Shared};
use super::response::{Reply, json_reply};
use crate::faults::{Kind, Spec};
use crate::status::{About, Status};

/// Handles a request to `/faults`, or to one fault there.
pub(super) fn control(shared: &Shared, request: &Request, id: Option<&str>) -> Result<Reply, Status> {
    let number = |id: &str| {
        id.parse::<u64>()
            .map_err(|_| Status::bad_request(format!("invalid id: {id}")))
    };
    match (&request.method, id) {
        (&Method::GET, None) => Ok(json_reply(200, &shared.faults.list())),
        (&Method::POST, None) => {
            let id = shared.faults.add(&request.body).map_err(Status::bad_request)?;
            Ok(json_reply(201, &json!({"id": id})))
        }
        (&Method::DELETE, id) => {
            let removed = shared.faults.remove(id.map(number).transpose()?);
            Ok(json_reply(200, &json!({"removed": removed})))
        }
        _ => Err(Status::no_method()),
    }
}

/// The response to a request to `path` that this fault affects.
pub(super) fn status_of(fault: &Spec, path: &str) -> Status {
    let mut status = match fault.fault {
        Kind::TooManyRequests => Status::plain(
            429,
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        Kind::Unavailable => Status::plain(
            503,
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        Kind::Conflict => {
            let name = path
                .trim_end_matches("/status")
                .rsplit('/')
                .next()
                .unwrap_or_default();
            Status::modified(
                About {
                    group: "",
                    plural: "objects",
                    kind: "",
                },
                name,
            )
        }
        _ => Status::internal("Internal error occurred: injected fault"),
    };
    let seconds = fault
        .retry_after_seconds
        .or((fault.fault == Kind::TooManyRequests).then_some(1));
    if let Some(seconds) = seconds {
        status.details.get_or_insert_default().retry_after_seconds = Some(seconds);
    }
    status
}
