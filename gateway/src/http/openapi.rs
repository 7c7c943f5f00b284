//! The OpenAPI document, generated from the handlers.

use std::sync::LazyLock;

use axum::response::Response;
use service::http::Failure;
use utoipa::OpenApi;

use super::signals;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gateway",
        description = "Receives signals and creates exactly one active RemediationRequest per incident.",
        license(name = "Apache-2.0")
    ),
    paths(signals::prometheus, signals::kubernetes_event, document)
)]
struct Document;

static DOCUMENT: LazyLock<Result<String, String>> = LazyLock::new(|| {
    service::openapi::assemble(Document::openapi(), service::version(env!("CARGO_PKG_VERSION")))
});

/// Returns this document.
///
/// # Errors
/// It cannot be serialized.
#[utoipa::path(get, path = "/openapi.json", tag = "about",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub async fn document() -> Result<Response, Failure> {
    service::openapi::response(&DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_complete() {
        let document = service::openapi::check(&DOCUMENT).unwrap();
        for path in ["/api/v1/signals/prometheus", "/api/v1/signals/kubernetes-event"] {
            let responses = &document["paths"][path]["post"]["responses"];
            for status in ["201", "202", "413", "415"] {
                assert!(responses[status].is_object(), "{path} {status}");
            }
        }
        let alert = &document["components"]["schemas"]["Alert"]["properties"];
        assert!(alert["startsAt"].is_object() && alert["labels"].is_object());
    }
}
