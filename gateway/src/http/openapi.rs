//! The API's description, from the handlers themselves.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use service::http::Failure;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use wire::problem::{FieldError, MEDIA_TYPE, Problem};

use super::signals;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gateway",
        description = "Takes signals and makes exactly one active RemediationRequest of each problem.",
        license(name = "Apache-2.0")
    ),
    paths(signals::prometheus, signals::kubernetes_event, document),
    components(schemas(Problem, FieldError)),
    modifiers(&Refusals)
)]
struct Description;

/// The answers of every route that takes signals when it does not take one.
struct Refusals;

const REFUSALS: [(&str, &str); 9] = [
    (
        "400",
        "Not JSON, or a field is wrong or stale; every mistake is listed",
    ),
    ("401", "No valid token, where senders are asked for one"),
    ("403", "The sender may not send signals"),
    ("413", "The body is too long"),
    ("415", "Content-Type is not JSON"),
    ("429", "Too much at once; Retry-After says when to come again"),
    (
        "500",
        "The request can't be made; the log has the reason under the request_id",
    ),
    (
        "503",
        "The Kubernetes API can't be used now; Retry-After says when to come again",
    ),
    ("504", "Not done in time; repeats are harmless"),
];

impl Modify for Refusals {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let posts = description
            .paths
            .paths
            .values_mut()
            .filter_map(|item| item.post.as_mut());
        for operation in posts {
            for (status, text) in REFUSALS {
                let problem = RefOr::Ref(Ref::from_schema_name("Problem"));
                let content = ContentBuilder::new().schema(Some(problem)).build();
                let response = ResponseBuilder::new()
                    .description(text)
                    .content(MEDIA_TYPE, content)
                    .build();
                operation
                    .responses
                    .responses
                    .insert(status.to_owned(), RefOr::T(response));
            }
        }
    }
}

static DOCUMENT: LazyLock<Result<String, String>> = LazyLock::new(|| {
    let mut description = Description::openapi();
    description.info.version = service::version(env!("CARGO_PKG_VERSION"));
    description.to_json().map_err(|error| error.to_string())
});

/// This description.
///
/// # Errors
/// It can't be written.
#[utoipa::path(get, path = "/openapi.json", tag = "about",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub async fn document() -> Result<impl IntoResponse, Failure> {
    match &*DOCUMENT {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/json")], text.as_str())),
        Err(error) => Err(Failure::internal(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_answer_is_told() {
        let text = DOCUMENT.as_ref().unwrap();
        let document: Value = serde_json::from_str(text).unwrap();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        for path in ["/api/v1/signals/prometheus", "/api/v1/signals/kubernetes-event"] {
            let answers = &document["paths"][path]["post"]["responses"];
            for status in [
                "201", "202", "400", "401", "403", "413", "415", "429", "503", "504",
            ] {
                assert!(answers[status].is_object(), "{path} {status}");
            }
        }
        let alert = &document["components"]["schemas"]["Alert"]["properties"];
        assert!(alert["startsAt"].is_object() && alert["labels"].is_object());
    }
}
