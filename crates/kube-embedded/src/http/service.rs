//! One request: who asks, may they, what for, and the answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, USER_AGENT};
use hyper::{Method, Request};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::answer::{Form, Reply, json_reply, respond, status_reply, text_reply, typed};
use super::route::{Place, Route, route};
use crate::api::{Answer, Api, Call, Content, Query};
use crate::auth::rbac::{self, Attributes};
use crate::auth::{User, reviews};
use crate::faults::{Faults, Kind, Spec};
use crate::resources::Resource;
use crate::status::{About, Status};
use crate::{discovery, openapi};

/// The real server's limit of a body.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// What all requests share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) api: Arc<Api>,
    pub(super) faults: Arc<Faults>,
    pub(super) address: std::net::SocketAddr,
}

/// The parts of a request.
struct Asked {
    method: Method,
    path: String,
    query: Query,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked {
    fn header(&self, name: &hyper::header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Answers a request; `reset` cuts its connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    reset: Arc<Notify>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let is_watch = query.flag("watch") && head.method == Method::GET;
    let method = head.method.clone();
    let struck = if path.starts_with("/faults") {
        Vec::new()
    } else {
        shared.faults.strike(method.as_str(), &path, is_watch)
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
    for fault in &struck {
        match fault.fault {
            Kind::Latency => {
                tokio::time::sleep(Duration::from_millis(fault.milliseconds.unwrap_or_default())).await
            }
            Kind::Reset => cut(&reset).await,
            Kind::ResetAfter => reset_after = true,
            _ => return Ok(status_reply(&fault_status(fault, &path))),
        }
    }
    let asked = Asked {
        method,
        path,
        query,
        headers: head.headers,
        body,
    };
    let reply = answer(&shared, &asked);
    if reset_after {
        cut(&reset).await;
    }
    Ok(reply)
}

/// Never returns: the connection's task is dropped meanwhile.
async fn cut(reset: &Notify) {
    reset.notify_one();
    std::future::pending::<()>().await;
}

fn fault_status(fault: &Spec, path: &str) -> Status {
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
        _ => Status::internal("Internal error occurred: a fault that was asked for"),
    };
    let seconds = fault
        .retry_after_seconds
        .or((fault.fault == Kind::TooManyRequests).then_some(1));
    if let Some(seconds) = seconds {
        status.details.get_or_insert_default().retry_after_seconds = Some(seconds);
    }
    status
}

fn answer(shared: &Arc<Shared>, asked: &Asked) -> Reply {
    match dispatch(shared, asked) {
        Ok(reply) => reply,
        Err(status) => status_reply(&status),
    }
}

fn dispatch(shared: &Arc<Shared>, asked: &Asked) -> Result<Reply, Status> {
    let api = &shared.api;
    let user = api.auth.authenticate(&api.store, asked.header(&AUTHORIZATION))?;
    let user = impersonated(api, asked, user)?;
    let route = route(&asked.path);
    if let Route::Resource(place) = route {
        return resource(shared, asked, user, place);
    }
    let wanted = Attributes {
        verb: asked.method.as_str().to_lowercase(),
        path: Some(asked.path.clone()),
        ..Attributes::default()
    };
    if !rbac::authorize(&api.store, &user, &wanted).allowed {
        let message = format!(
            "forbidden: User \"{}\" cannot {} path \"{}\"",
            user.name, wanted.verb, asked.path
        );
        return Err(Status {
            details: Some(Box::default()),
            ..Status::plain(403, "Forbidden", message)
        });
    }
    if let Route::Faults(id) = route {
        return faults(shared, asked, id.as_deref());
    }
    if route == Route::Compact && asked.method == Method::POST {
        api.store.compact();
        return Ok(json_reply(200, &json!({"compacted": api.store.revision()})));
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return Err(Status::no_method());
    }
    let served = api.registry.served();
    let accept = asked.header(&ACCEPT).unwrap_or_default();
    let value = match route {
        Route::Legacy => discovery::legacy(&served, accept, shared.address),
        Route::Groups => discovery::groups(&served, accept),
        Route::Group(group) => discovery::group(&served, &group),
        Route::Version(group, version) => discovery::version(&served, &group, &version),
        Route::OpenApi(path) => openapi::document(&served, &path),
        Route::ServerVersion => Some(discovery::server_version()),
        Route::Root => Some(discovery::paths(&served)),
        Route::Health => return Ok(text_reply(200, "ok")),
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

/// `Impersonate-User` and its kin: who may, asks as another.
fn impersonated(api: &Api, asked: &Asked, user: User) -> Result<User, Status> {
    let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(name) = header("impersonate-user") else {
        return Ok(user);
    };
    let groups = asked
        .headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut groups: Vec<String> = groups.map(ToOwned::to_owned).collect();
    let subjects =
        std::iter::once(("users", name)).chain(groups.iter().map(|group| ("groups", group.as_str())));
    for (resource, name) in subjects {
        let wanted = Attributes {
            verb: "impersonate".into(),
            resource: resource.into(),
            name: name.into(),
            ..Attributes::default()
        };
        if !rbac::authorize(&api.store, &user, &wanted).allowed {
            let why = format!(
                "User \"{}\" cannot impersonate resource \"{resource}\" in API group \"\" at the cluster scope",
                user.name
            );
            return Err(Status::forbidden(
                About {
                    group: "",
                    plural: resource,
                    kind: "",
                },
                name,
                &why,
            ));
        }
    }
    if let Some(rest) = name.strip_prefix("system:serviceaccount:")
        && let Some((namespace, account)) = rest.split_once(':')
    {
        return Ok(User::service_account(namespace, account, ""));
    }
    groups.push("system:authenticated".into());
    Ok(User {
        name: name.to_owned(),
        groups,
        ..User::default()
    })
}

fn faults(shared: &Shared, asked: &Asked, id: Option<&str>) -> Result<Reply, Status> {
    let number = |id: &str| {
        id.parse::<u64>()
            .map_err(|_| Status::bad_request(format!("no number: {id}")))
    };
    match (&asked.method, id) {
        (&Method::GET, None) => Ok(json_reply(200, &shared.faults.list())),
        (&Method::POST, None) => {
            let id = shared.faults.add(&asked.body).map_err(Status::bad_request)?;
            Ok(json_reply(201, &json!({"id": id})))
        }
        (&Method::DELETE, id) => {
            let removed = shared.faults.remove(id.map(number).transpose()?);
            Ok(json_reply(200, &json!({"removed": removed})))
        }
        _ => Err(Status::no_method()),
    }
}

/// The verb as RBAC calls it.
fn verb_of(method: &Method, place: &Place, is_watch: bool) -> Option<&'static str> {
    let collection = place.name.is_empty();
    Some(match *method {
        Method::GET | Method::HEAD if is_watch => "watch",
        Method::GET | Method::HEAD => {
            if collection {
                "list"
            } else {
                "get"
            }
        }
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => {
            if collection {
                "deletecollection"
            } else {
                "delete"
            }
        }
        _ => return None,
    })
}

fn resource(shared: &Arc<Shared>, asked: &Asked, user: User, mut place: Place) -> Result<Reply, Status> {
    let api = &shared.api;
    let served = api.registry.served();
    let is_watch = place.watch || asked.query.flag("watch");
    // A namespace is in itself, as the real server sees it.
    if place.plural == "namespaces" && place.group.is_empty() && place.namespace.is_empty() {
        place.namespace.clone_from(&place.name);
    }
    let verb = verb_of(&asked.method, &place, is_watch && place.subresource.is_empty())
        .ok_or_else(Status::no_method)?;
    authorize(api, &user, verb, &place)?;
    let Some(resource) = served.find(&place.group, &place.version, &place.plural) else {
        let known = place.group.is_empty() || served.groups().contains_key(&place.group);
        return if known {
            Err(Status::no_resource())
        } else {
            Ok(text_reply(404, "404 page not found\n"))
        };
    };
    if !resource.namespaced {
        if !place.namespace.is_empty() && place.plural != "namespaces" {
            return Err(Status::no_resource());
        }
        place.namespace.clear();
    } else if place.namespace.is_empty()
        && (!place.name.is_empty() || (verb == "create" && !is_review(resource)))
    {
        return Err(Status::no_method());
    }
    check_verb(resource, &place, verb)?;
    let header = |name| asked.header(name).unwrap_or_default().to_owned();
    let agent = header(&USER_AGENT);
    let call = Call {
        resource: Arc::clone(resource),
        namespace: place.namespace,
        name: place.name,
        subresource: place.subresource,
        query: asked.query.clone(),
        content_type: header(&CONTENT_TYPE),
        body: asked.body.clone(),
        user,
        agent: agent
            .split('/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("unknown")
            .to_owned(),
    };
    let form = Form::of(asked.header(&ACCEPT).unwrap_or_default(), &asked.query)?;
    let answer = perform(api, &call, verb)?;
    Ok(respond(shared, resource, form, answer, &asked.path))
}

fn is_review(resource: &Resource) -> bool {
    resource.verbs == ["create"]
}

fn authorize(api: &Api, user: &User, verb: &str, place: &Place) -> Result<(), Status> {
    let wanted = Attributes {
        verb: verb.into(),
        group: place.group.clone(),
        resource: place.plural.clone(),
        subresource: place.subresource.clone(),
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        path: None,
    };
    if rbac::authorize(&api.store, user, &wanted).allowed {
        return Ok(());
    }
    let place_name = match wanted.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let resource = if wanted.subresource.is_empty() {
        wanted.resource.clone()
    } else {
        format!("{}/{}", wanted.resource, wanted.subresource)
    };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place_name}",
        user.name, wanted.group
    );
    Err(Status::forbidden(
        About {
            group: &wanted.group,
            plural: &wanted.resource,
            kind: "",
        },
        &wanted.name,
        &why,
    ))
}

/// Subresources that run something, which nothing here does.
const RUNNING: &[&str] = &[
    "exec",
    "attach",
    "portforward",
    "proxy",
    "log",
    "eviction",
    "binding",
    "ephemeralcontainers",
    "resize",
];

fn check_verb(resource: &Resource, place: &Place, verb: &str) -> Result<(), Status> {
    if place.subresource.is_empty() {
        let needs_name = matches!(verb, "update" | "patch");
        if needs_name == place.name.is_empty() && (needs_name || verb == "create") {
            return Err(Status::no_method());
        }
        return if resource.allows(verb) {
            Ok(())
        } else {
            Err(Status::no_method())
        };
    }
    if RUNNING
        .iter()
        .any(|name| place.subresource.split('/').next() == Some(name))
        && !resource.custom
    {
        return Err(Status::not_implemented(format!(
            "{}/{}: nothing runs pods here",
            place.plural, place.subresource
        )));
    }
    let Some(subresource) = resource.subresource(&place.subresource) else {
        return Err(if resource.custom {
            Status::not_found(resource.about(), &place.name)
        } else {
            Status::no_resource()
        });
    };
    if subresource.verbs.iter().any(|known| known == verb) {
        Ok(())
    } else {
        Err(Status::no_method())
    }
}

fn perform(api: &Api, call: &Call, verb: &str) -> Result<Answer, Status> {
    match (verb, call.subresource.as_str()) {
        ("get", "" | "status") => api.get(call),
        ("get", "scale") => api.get_scale(call),
        ("list", "") => api.list(call),
        ("watch", "") => api.watch(call),
        ("create", "token") => api.create_token(call),
        ("create", "") if is_review(&call.resource) => review(api, call),
        ("create", "") => api.create(call),
        ("update", "" | "status" | "scale" | "finalize") => api.update(call),
        ("patch", "" | "status" | "scale") => api.patch(call),
        ("delete", "") => api.delete(call),
        ("deletecollection", "") => api.delete_collection(call),
        (verb, subresource) => Err(Status::not_implemented(format!(
            "{verb} {}/{subresource}",
            call.resource.plural
        ))),
    }
}

fn review(api: &Api, call: &Call) -> Result<Answer, Status> {
    let object: Value = api.read(call)?;
    let kind = &call.resource.kind;
    let answered = reviews::answer(&api.auth, &api.store, &call.user, kind, &call.namespace, object)?;
    Ok(Answer {
        code: 201,
        content: Content::Value(answered),
        warnings: Vec::new(),
    })
}
