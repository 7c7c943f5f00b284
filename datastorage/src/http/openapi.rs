//! The API's description, from the handlers themselves.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::IntoResponse;
use service::http::Failure;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi};
use wire::problem::{FieldError, MEDIA_TYPE, Problem};

use super::{
    batch, event, events, export, legal_hold, notifications, success_rate, timeline, verify_chain, workflows,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "DataStorage", description = "Keeps the audit trail of every service.", license(name = "Apache-2.0")),
    paths(
        event::create, events::list, batch::create, event::get, notifications::create, verify_chain::verify,
        export::export, legal_hold::place, legal_hold::list, legal_hold::release, legal_hold::release_named,
        workflows::create, workflows::list, workflows::search, workflows::versions, workflows::get,
        workflows::patch, workflows::disable, success_rate::incident_type, success_rate::workflow,
        success_rate::multi_dimensional, timeline::page, document,
    ),
    components(schemas(Problem, FieldError)),
    modifiers(&CommonAnswers)
)]
struct Api;

/// Answers that every operation has.
struct CommonAnswers;

impl Modify for CommonAnswers {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut api.paths.paths {
            if path == "/openapi.json" {
                continue;
            }
            let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                add_to(operation);
            }
        }
    }
}

fn add_to(operation: &mut Operation) {
    let mut answers = vec![
        (
            "400",
            "Something in the request is wrong; every mistake is listed",
        ),
        ("401", "No valid token, where callers are authenticated"),
        ("403", "The caller may not do this"),
        (
            "429",
            "The client sends more than it may; Retry-After says when to come again",
        ),
        (
            "500",
            "A fault of the service; its log has the reason under the request_id",
        ),
        ("503", "The stores are away; Retry-After says when to come again"),
    ];
    if operation.request_body.is_some() {
        answers.push(("413", "The body is larger than 5 MiB"));
        answers.push(("415", "Content-Type is not JSON"));
    }
    for (status, description) in answers {
        let content = ContentBuilder::new()
            .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
            .build();
        let response = ResponseBuilder::new()
            .description(description)
            .content(MEDIA_TYPE, content)
            .build();
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert(RefOr::T(response));
    }
}

static DOCUMENT: LazyLock<Result<String, String>> = LazyLock::new(|| {
    let mut api = Api::openapi();
    api.info.version = crate::version::version();
    api.to_json().map_err(|error| error.to_string())
});

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "about",
    responses((status = 200, body = Object, description = "OpenAPI 3.1")))]
pub(super) async fn document() -> Result<impl IntoResponse, Failure> {
    match &*DOCUMENT {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/json")], text.as_str())),
        Err(error) => Err(Failure::internal(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_operation_tells_its_problems() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT.as_ref().unwrap()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let answers = operation["responses"].as_object().unwrap();
                assert!(
                    path == "/openapi.json" || answers.contains_key("503"),
                    "{method} {path}"
                );
            }
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(object) => {
                for (key, value) in object {
                    if key == "$ref" {
                        references.push(value.as_str().unwrap().to_owned());
                    }
                    collect(value, references);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
            _ => {}
        }
    }
}
