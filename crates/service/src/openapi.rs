//! The OpenAPI document of a service: its own operations, and the error responses that the edge adds to each.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::header::Header;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use wire::problem::{FieldError, MEDIA_TYPE, Problem};

use crate::problem::Failure;

/// The path of the document.
pub const PATH: &str = "/openapi.json";

/// Error responses of every operation.
const COMMON: [(&str, &str); 7] = [
    ("400", "Invalid request; every error is listed"),
    (
        "401",
        "No valid token, where authentication is enabled; see WWW-Authenticate",
    ),
    (
        "403",
        "The client lacks the right, where authentication is enabled",
    ),
    ("429", "Too many requests; see Retry-After"),
    (
        "500",
        "An error of the service; its log has the reason under the request_id",
    ),
    ("503", "The service cannot do it now; see Retry-After"),
    ("504", "Not completed in time; repeats are harmless"),
];
/// Error responses of operations with a body.
const WITH_BODY: [(&str, &str); 2] = [
    ("413", "The body exceeds the limit"),
    ("415", "Content-Type is not JSON"),
];

/// Completes the document with the service's version and the common error responses, as JSON.
///
/// # Errors
/// It cannot be serialized.
pub fn assemble(mut document: OpenApi, version: String) -> Result<String, String> {
    document.info.version = version;
    let components = document.components.get_or_insert_default();
    components
        .schemas
        .insert(Problem::name().into_owned(), Problem::schema());
    components
        .schemas
        .insert(FieldError::name().into_owned(), FieldError::schema());
    for (path, item) in &mut document.paths.paths {
        if path == PATH {
            continue;
        }
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        operations.into_iter().flatten().for_each(add_errors);
    }
    document.to_json().map_err(|error| error.to_string())
}

fn add_errors(operation: &mut Operation) {
    let with_body = operation.request_body.is_some().then_some(WITH_BODY);
    for (status, description) in COMMON.into_iter().chain(with_body.into_iter().flatten()) {
        let problem = RefOr::Ref(Ref::from_schema_name("Problem"));
        let content = ContentBuilder::new().schema(Some(problem)).build();
        let mut response = ResponseBuilder::new()
            .description(description)
            .content(MEDIA_TYPE, content);
        if status == "401" {
            response = response.header("WWW-Authenticate", text_header());
        }
        let responses = &mut operation.responses.responses;
        responses
            .entry(status.to_owned())
            .or_insert(RefOr::T(response.build()));
    }
}

fn text_header() -> Header {
    Header::new(Schema::Object(
        ObjectBuilder::new().schema_type(Type::String).build(),
    ))
}

/// The response with an assembled document.
///
/// # Errors
/// 500 if it could not be assembled.
pub fn response(document: &Result<String, String>) -> Result<Response, Failure> {
    match document {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()),
        Err(error) => Err(Failure::internal(error)),
    }
}

/// Checks an assembled document, for a service's test: every reference resolves, and every operation lists the common
/// errors.
///
/// # Errors
/// The errors found.
pub fn check(document: &Result<String, String>) -> Result<serde_json::Value, String> {
    let text = document.as_ref().map_err(Clone::clone)?;
    let document: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap_or_default();
        if document.pointer(pointer).is_none() {
            return Err(format!("the reference {pointer} has no target"));
        }
    }
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let missing = COMMON
                .iter()
                .find(|(status, _)| operation["responses"].get(status).is_none());
            if let (Some((status, _)), false) = (missing, path == PATH) {
                return Err(format!("{method} {path} does not describe {status}"));
            }
        }
    }
    Ok(document)
}
