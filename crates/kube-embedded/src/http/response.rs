//! Response bodies: JSON, YAML, tables, metadata only, streams.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{Either, Full};
use hyper::Response;
use hyper::body::{Body, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::list::{CHUNK, Chunks};
use super::request::Shared;
use crate::api::{self, Content, Query, Watch, present, presented};
use crate::protobuf;
use crate::resources::Resource;
use crate::status::Status;
use crate::table::{self, Include};

/// Chunks buffered for a slow client before its watch waits.
const WAITING_CHUNKS: usize = 8;

/// The body of a response: complete, or a stream.
pub(super) type ReplyBody = Either<Full<Bytes>, Stream>;
/// An HTTP response.
pub(super) type Reply = Response<ReplyBody>;

/// A streamed body.
#[derive(Debug)]
pub(super) enum Stream {
    /// Lines of a watch.
    Watch(mpsc::Receiver<Bytes>),
    /// A long list.
    List(Chunks),
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = match &mut *self {
            Self::Watch(lines) => lines.poll_recv(context),
            Self::List(chunks) => Poll::Ready(chunks.next()),
        };
        chunk.map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// The requested form of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) shape: Shape,
    pub(super) yaml: bool,
    binary: bool,
    pub(super) include: Include,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Object,
    Table,
    Metadata,
}

impl Form {
    /// The first supported form of the `Accept` header.
    pub(super) fn of(accept: &str, query: &Query) -> Result<Self, Status> {
        let include = match query.get("includeObject") {
            "None" => Include::None,
            "Object" => Include::Object,
            _ => Include::Metadata,
        };
        let form = |shape, yaml| {
            Ok(Self {
                shape,
                yaml,
                binary: false,
                include,
            })
        };
        let mut accepts_binary = false;
        if accept.trim().is_empty() {
            return form(Shape::Object, false);
        }
        for option in accept.split(',') {
            let mut parts = option.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let requested = parts
                .find_map(|part| part.strip_prefix("as="))
                .unwrap_or_default();
            let shape = match requested {
                "" => Shape::Object,
                "Table" => Shape::Table,
                "PartialObjectMetadata" | "PartialObjectMetadataList" => Shape::Metadata,
                _ => continue,
            };
            match media {
                "application/json" | "*/*" | "application/*" => return form(shape, false),
                "application/yaml" => return form(shape, true),
                protobuf::MEDIA_TYPE => accepts_binary |= shape == Shape::Object,
                _ => {}
            }
        }
        if accepts_binary {
            return form(Shape::Object, false).map(|form| Self { binary: true, ..form });
        }
        Err(not_acceptable())
    }
}

fn not_acceptable() -> Status {
    let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml";
    Status {
        details: Some(Box::default()),
        ..Status::plain(406, "NotAcceptable", message)
    }
}

/// A body with its content type.
pub(super) fn typed(code: u16, kind: &str, body: Bytes) -> Reply {
    let mut reply = Reply::new(Either::Left(Full::new(body)));
    *reply.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    if let Ok(kind) = HeaderValue::from_str(kind) {
        reply.headers_mut().insert(CONTENT_TYPE, kind);
    }
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    reply
}

/// A JSON body.
pub(super) fn json_reply(code: u16, value: &Value) -> Reply {
    typed(code, "application/json", value.to_string().into())
}

/// A text body.
pub(super) fn text_reply(code: u16, text: &str) -> Reply {
    typed(code, "text/plain; charset=utf-8", text.to_owned().into())
}

/// An error as a response.
pub(super) fn status_reply(status: &Status) -> Reply {
    let mut reply = json_reply(status.code, &status.body());
    let seconds = status
        .details
        .as_ref()
        .and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = seconds {
        reply.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    reply
}

/// Converts a response to the requested form.
pub(super) fn respond(
    shared: &Arc<Shared>,
    resource: &Arc<Resource>,
    form: Form,
    response: api::Response,
    path: &str,
) -> Reply {
    let api::Response {
        code,
        content,
        warnings,
    } = response;
    let mut reply = match content {
        content if form.binary => return binary(code, resource, content),
        Content::Watch(watch) => return stream(shared, resource, form, watch, path),
        Content::Entry(entry) if form.shape == Shape::Object && !form.yaml => {
            typed(code, "application/json", present(resource, &entry))
        }
        Content::List(list) => list_reply(Chunks::new(resource, form, list)),
        Content::Entry(entry) => shaped(code, resource, form, presented(resource, &entry)),
        Content::Value(value) if value["kind"] == "Status" => rendered(code, form, &value),
        Content::Value(value) => shaped(code, resource, form, value),
    };
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_str(&text) {
            reply.headers_mut().append(WARNING, value);
        }
    }
    reply
}

/// The binary form of an object of a built-in kind.
fn binary(code: u16, resource: &Resource, content: Content) -> Reply {
    let value = match content {
        Content::Entry(entry) => presented(resource, &entry),
        Content::Value(value) => value,
        Content::List(_) | Content::Watch(_) => Value::Null,
    };
    match protobuf::encode(&value) {
        Some(body) => typed(code, protobuf::MEDIA_TYPE, body.into()),
        None => status_reply(&not_acceptable()),
    }
}

fn rendered(code: u16, form: Form, value: &Value) -> Reply {
    if !form.yaml {
        return json_reply(code, value);
    }
    match serde_saphyr::to_string(value) {
        Ok(text) => typed(code, "application/yaml", text.into()),
        Err(error) => status_reply(&Status::internal(format!("cannot write YAML: {error}"))),
    }
}

fn shaped(code: u16, resource: &Resource, form: Form, object: Value) -> Reply {
    let value = match form.shape {
        Shape::Table => table::table(resource, &[object], form.include),
        Shape::Metadata => table::partial(&object),
        Shape::Object => object,
    };
    rendered(code, form, &value)
}

/// A list in one piece if it is short.
fn list_reply(mut chunks: Chunks) -> Reply {
    let mut reply = typed(200, chunks.media_type(), Bytes::new());
    let first = chunks.next().unwrap_or_default();
    *reply.body_mut() = if chunks.ended() {
        Either::Left(Full::new(first))
    } else {
        Either::Right(Stream::List(chunks.starting_with(first)))
    };
    reply
}

fn stream(shared: &Arc<Shared>, resource: &Arc<Resource>, form: Form, watch: Watch, path: &str) -> Reply {
    let (sender, receiver) = mpsc::channel(WAITING_CHUNKS);
    let (shared, resource, path) = (Arc::clone(shared), Arc::clone(resource), path.to_owned());
    tokio::spawn(async move { pump(&shared, &resource, form, watch, &path, &sender).await });
    let mut reply = Reply::new(Either::Right(Stream::Watch(receiver)));
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    reply
}

/// Sends events until the watch or the client ends.
async fn pump(
    shared: &Shared,
    resource: &Resource,
    form: Form,
    mut watch: Watch,
    path: &str,
    sender: &mpsc::Sender<Bytes>,
) {
    let mut first = true;
    loop {
        let events = tokio::select! {
            events = shared.api.next_events(&mut watch) => events,
            () = sender.closed() => None,
        };
        let Some(events) = events else { return };
        wait_while_stalled(shared, path, sender).await;
        let mut chunk = BytesMut::new();
        for event in events {
            if form.shape == Shape::Object || event.kind == "ERROR" {
                chunk.extend_from_slice(&event.into_line());
            } else {
                let object: Value = serde_json::from_slice(&event.object).unwrap_or_default();
                let object = match form.shape {
                    Shape::Table => {
                        table::event_table(resource, &object, form.include, std::mem::take(&mut first))
                    }
                    _ => table::partial(&object),
                };
                chunk.extend_from_slice(
                    json!({"type": event.kind, "object": object})
                        .to_string()
                        .as_bytes(),
                );
                chunk.extend_from_slice(b"\n");
            }
            if chunk.len() >= CHUNK && sender.send(chunk.split().freeze()).await.is_err() {
                return;
            }
        }
        if !chunk.is_empty() && sender.send(chunk.freeze()).await.is_err() {
            return;
        }
    }
}

async fn wait_while_stalled(shared: &Shared, path: &str, sender: &mpsc::Sender<Bytes>) {
    let mut changed = shared.faults.subscribe();
    while shared.faults.is_stalled(path) {
        tokio::select! {
            // A stall ends after its duration without a notification: check again.
            _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()) => {}
            () = sender.closed() => return,
        }
    }
}
