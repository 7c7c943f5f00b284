//! Requests to resources: determines the verb, checks that it is served, and executes it.

use std::sync::Arc;

use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use serde_json::Value;

use super::access;
use super::request::{Request, Shared};
use super::response::{Form, Reply, respond, text_reply};
use super::route::ResourcePath;
use crate::api::{Api, Call, Content, Response};
use crate::auth::{User, reviews};
use crate::resources::Resource;
use crate::status::Status;

/// Handles a request to a resource, an object or a subresource.
pub(super) fn handle(
    shared: &Arc<Shared>,
    request: &Request,
    user: User,
    mut target: ResourcePath,
) -> Result<Reply, Status> {
    let api = &shared.api;
    let served = api.registry.served();
    let is_watch = target.watch || request.query.flag("watch");
    // A namespace is in itself, as on the real server.
    if target.plural == "namespaces" && target.group.is_empty() && target.namespace.is_empty() {
        target.namespace.clone_from(&target.name);
    }
    let verb = verb_of(
        &request.method,
        &target,
        is_watch && target.subresource.is_empty(),
    )
    .ok_or_else(Status::no_method)?;
    access::authorize_resource(api, &user, verb, &target)?;
    let Some(resource) = served.find(&target.group, &target.version, &target.plural) else {
        let known = target.group.is_empty() || served.groups().contains_key(&target.group);
        return if known {
            Err(Status::no_resource())
        } else {
            Ok(text_reply(404, "404 page not found\n"))
        };
    };
    if !resource.namespaced {
        if !target.namespace.is_empty() && target.plural != "namespaces" {
            return Err(Status::no_resource());
        }
        target.namespace.clear();
    } else if target.namespace.is_empty()
        && (!target.name.is_empty() || (verb == "create" && !is_review(resource)))
    {
        return Err(Status::no_method());
    }
    check_verb(resource, &target, verb)?;
    let header = |name| request.header(name).unwrap_or_default().to_owned();
    let agent = header(&USER_AGENT);
    let call = Call {
        resource: Arc::clone(resource),
        namespace: target.namespace,
        name: target.name,
        subresource: target.subresource,
        query: request.query.clone(),
        content_type: header(&CONTENT_TYPE),
        body: request.body.clone(),
        user,
        agent: agent
            .split('/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or("unknown")
            .to_owned(),
    };
    let form = Form::of(request.header(&ACCEPT).unwrap_or_default(), &request.query)?;
    let response = perform(api, &call, verb);
    let code = response
        .as_ref()
        .map_or_else(|status| status.code, |response| response.code);
    shared.metrics.count(&call, verb, code);
    Ok(respond(shared, resource, form, response?, &request.path))
}

/// The verb as RBAC names it.
fn verb_of(method: &Method, target: &ResourcePath, is_watch: bool) -> Option<&'static str> {
    let collection = target.name.is_empty();
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

fn is_review(resource: &Resource) -> bool {
    resource.verbs == ["create"]
}

/// Subresources that run something, which this server cannot.
const RUNNING: &[&str] = &["exec", "attach", "portforward", "proxy", "log", "resize"];

fn check_verb(resource: &Resource, target: &ResourcePath, verb: &str) -> Result<(), Status> {
    if target.subresource.is_empty() {
        let needs_name = matches!(verb, "update" | "patch");
        if needs_name == target.name.is_empty() && (needs_name || verb == "create") {
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
        .any(|name| target.subresource.split('/').next() == Some(name))
        && !resource.custom
    {
        return Err(Status::not_implemented(format!(
            "{}/{}: this server runs no pods",
            target.plural, target.subresource
        )));
    }
    let Some(subresource) = resource.subresource(&target.subresource) else {
        return Err(if resource.custom {
            Status::not_found(resource.about(), &target.name)
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

fn perform(api: &Api, call: &Call, verb: &str) -> Result<Response, Status> {
    match (verb, call.subresource.as_str()) {
        ("get", "" | "status" | "ephemeralcontainers") => api.get(call),
        ("get", "scale") => api.get_scale(call),
        ("list", "") => api.list(call),
        ("watch", "") => api.watch(call),
        ("create", "eviction") => api.evict(call),
        ("create", "binding") => api.bind(call),
        ("create", "") if &*call.resource.table == "bindings" => api.bind_named(call),
        ("create", "token") => api.create_token(call),
        ("create", "") if is_review(&call.resource) => review(api, call),
        ("create", "") => api.create(call),
        ("update", "" | "status" | "scale" | "finalize" | "ephemeralcontainers") => api.update(call),
        ("patch", "" | "status" | "scale" | "ephemeralcontainers") => api.patch(call),
        ("delete", "") => api.delete(call),
        ("deletecollection", "") => api.delete_collection(call),
        (verb, subresource) => Err(Status::not_implemented(format!(
            "{verb} {}/{subresource}",
            call.resource.plural
        ))),
    }
}

fn review(api: &Api, call: &Call) -> Result<Response, Status> {
    let object: Value = api.read(call)?;
    let kind = &call.resource.kind;
    let evaluated = reviews::evaluate(&api.auth, &api.store, &call.user, kind, &call.namespace, object)?;
    Ok(Response {
        code: 201,
        content: Content::Value(evaluated),
        warnings: Vec::new(),
    })
}
