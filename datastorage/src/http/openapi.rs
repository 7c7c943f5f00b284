//! The OpenAPI document, generated from the handlers.

use std::sync::LazyLock;

use axum::response::Response;
use service::http::Failure;
use utoipa::OpenApi;

use super::{
    batch, erasure, event, events, export, legal_hold, log, notifications, success_rate, timeline,
    verify_chain, workflows,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DataStorage",
        description = "Keeps the audit trail of every service.",
        license(name = "Apache-2.0")
    ),
    paths(
        event::create,
        events::list,
        batch::create,
        event::get,
        notifications::create,
        verify_chain::verify,
        export::export,
        log::key,
        log::checkpoint,
        log::tile,
        log::inclusion,
        log::consistency,
        erasure::erase,
        legal_hold::place,
        legal_hold::list,
        legal_hold::release,
        legal_hold::release_named,
        workflows::create,
        workflows::list,
        workflows::search,
        workflows::versions,
        workflows::get,
        workflows::patch,
        workflows::disable,
        success_rate::incident_type,
        success_rate::workflow,
        success_rate::multi_dimensional,
        timeline::page,
        document,
    )
)]
struct Document;

static DOCUMENT: LazyLock<Result<String, String>> = LazyLock::new(|| {
    service::openapi::assemble(Document::openapi(), service::version(env!("CARGO_PKG_VERSION")))
});

/// Returns this document.
#[utoipa::path(get, path = "/openapi.json", tag = "about",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub(super) async fn document() -> Result<Response, Failure> {
    service::openapi::response(&DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_complete() {
        let document = service::openapi::check(&DOCUMENT).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        assert_eq!(document["paths"].as_object().unwrap().len(), 24);
    }
}
