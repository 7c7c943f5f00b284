//! Subresources with a kind of their own: scale and token.

use serde_json::{Value, json};

use super::{Api, Call, Content, Response};
use crate::object;
use crate::patch;
use crate::resources::names::quoted;
use crate::resources::{Resource, ScalePaths};
use crate::status::Status;

/// JSON paths of a resource's scale.
fn paths(resource: &Resource) -> Result<ScalePaths, Status> {
    resource.scale.clone().map_or_else(
        || match resource.subresource("scale") {
            Some(_) => Ok(ScalePaths {
                spec: ".spec.replicas".into(),
                status: ".status.replicas".into(),
                selector: String::new(),
            }),
            None => Err(Status::no_resource()),
        },
        Ok,
    )
}

fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

/// Builds the scale of an object.
pub(super) fn scale_of(resource: &Resource, object: &Value) -> Result<Value, Status> {
    let paths = paths(resource)?;
    let number = |path: &str| {
        object
            .pointer(&pointer(path))
            .and_then(Value::as_i64)
            .unwrap_or_default()
    };
    let selector = match resource.custom {
        true => object::text(object, &pointer(&paths.selector)).to_owned(),
        false => {
            let labels = object.pointer("/spec/selector/matchLabels");
            object::pairs(labels)
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(",")
        }
    };
    let mut status = json!({"replicas": number(&paths.status)});
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    // Go omits a zero of the desired number, and writes that of the current one.
    let spec = match number(&paths.spec) {
        0 => json!({}),
        wanted => json!({"replicas": wanted}),
    };
    let keep = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata = keep
        .iter()
        .map(|key| ((*key).to_owned(), object["metadata"][*key].clone()));
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata.collect::<object::Object>(),
        "spec": spec, "status": status,
    }))
}

impl Api {
    /// Returns the scale of an object.
    ///
    /// # Errors
    /// 404.
    pub fn get_scale(&self, call: &Call) -> Result<Response, Status> {
        let entry = self
            .store
            .get(&call.resource.table, &call.key())
            .ok_or_else(|| call.not_found())?;
        let object = super::presented(&call.resource, &entry);
        if let Some(paths) = &call.resource.scale
            && object.pointer(&pointer(&paths.spec)).is_none()
        {
            let message = format!("the spec replicas field {} does not exist", quoted(&paths.spec));
            let status = Status::internal(format!("Internal error occurred: {message}"));
            return Err(status.cause(crate::status::Cause {
                reason: "",
                message,
                field: String::new(),
            }));
        }
        Ok(Response::value(200, scale_of(&call.resource, &object)?))
    }

    fn write_scale(
        &self,
        call: &Call,
        edit: &dyn Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Response, Status> {
        let paths = paths(&call.resource)?;
        let response = self.modify(call, false, &|current| {
            let scale = edit(&scale_of(&call.resource, current)?)?;
            let replicas = scale
                .pointer("/spec/replicas")
                .and_then(Value::as_i64)
                .unwrap_or_default();
            if replicas < 0 && !call.resource.custom {
                let cause = crate::status::Cause::invalid(
                    "spec.replicas",
                    &replicas.to_string(),
                    "must be greater than or equal to 0",
                );
                return Err(Status::invalid("autoscaling", "Scale", &call.name, vec![cause]));
            }
            let mut changed = current.clone();
            let version = object::meta(&scale, "resourceVersion");
            if !version.is_empty() {
                object::metadata_mut(&mut changed).insert("resourceVersion".into(), version.into());
            }
            set(&mut changed, &paths.spec, replicas.into());
            Ok((changed, Vec::new()))
        })?;
        match response.content {
            Content::Entry(entry) => Ok(Response::value(
                response.code,
                scale_of(&call.resource, &super::presented(&call.resource, &entry))?,
            )),
            Content::Value(object) => Ok(Response::value(response.code, scale_of(&call.resource, &object)?)),
            other => Ok(Response {
                content: other,
                ..Response::value(response.code, Value::Null)
            }),
        }
    }
}

/// Replaces the scale of an object.
pub(super) fn update_scale(api: &Api, call: &Call) -> Result<Response, Status> {
    let sent = super::decode::decode(call)?.object;
    let name = object::meta(&sent, "name");
    if !name.is_empty() && name != call.name {
        return Err(super::write::wrong_name(name, &call.name));
    }
    api.write_scale(call, &|_| Ok(sent.clone()))
}

/// Patches the scale of an object.
pub(super) fn patch_scale(api: &Api, call: &Call, kind: patch::Kind) -> Result<Response, Status> {
    if kind == patch::Kind::Apply {
        return Err(Status::not_implemented("apply to a scale"));
    }
    let patch = patch::Patch::read(kind, &call.body)?;
    api.write_scale(call, &|current| patch.apply_plain(current))
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut names: Vec<&str> = path.split('.').filter(|name| !name.is_empty()).collect();
    let Some(last) = names.pop() else { return };
    let mut at = object;
    for name in names {
        object::child_mut(at, name);
        at = &mut at[name];
    }
    at[last] = value;
}

impl Api {
    /// Creates a token for a service account.
    ///
    /// # Errors
    /// 404, 422.
    pub fn create_token(&self, call: &Call) -> Result<Response, Status> {
        let account = self
            .store
            .get(&call.resource.table, &call.key())
            .ok_or_else(|| call.not_found())?;
        let mut request = self.read(call)?;
        let spec = object::child_mut(&mut request, "spec");
        if object::strings(spec.get("audiences")).is_empty() {
            spec.insert("audiences".into(), json!([crate::auth::tokens::AUDIENCE]));
        }
        let seconds = spec
            .get("expirationSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(3600);
        spec.insert("expirationSeconds".into(), seconds.into());
        let bound = spec.entry("boundObjectRef").or_insert(Value::Null).clone();
        let audiences: Vec<String> = object::strings(spec.get("audiences"))
            .into_iter()
            .map(ToOwned::to_owned)
            .collect();
        let invalid = |cause| {
            Err(Status::invalid(
                "authentication.k8s.io",
                "TokenRequest",
                "",
                vec![cause],
            ))
        };
        if seconds < 600 {
            let detail = "may not specify a duration less than 10 minutes";
            return invalid(crate::status::Cause::invalid(
                "spec.expirationSeconds",
                &seconds.to_string(),
                detail,
            ));
        }
        let bound = if bound.is_null() {
            None
        } else {
            Some(self.bound_object(call, bound)?)
        };
        let issued = self
            .auth
            .signer()
            .issue(&account.object(), &audiences, seconds, bound.as_ref());
        let issued = issued.map_err(Status::internal)?;
        request["metadata"] =
            json!({"name": call.name, "namespace": call.namespace, "creationTimestamp": object::now()});
        let expires = jiff::Timestamp::from_second(issued.expires.as_second())
            .map(|time| time.to_string())
            .unwrap_or_default();
        request["status"] = json!({"token": issued.token, "expirationTimestamp": expires});
        Ok(Response::value(201, request))
    }

    /// Checks that the object to which a token is bound exists.
    fn bound_object(&self, call: &Call, mut bound: Value) -> Result<Value, Status> {
        let (kind, name) = (object::text(&bound, "/kind"), object::text(&bound, "/name"));
        let table = match kind {
            "Pod" => "pods",
            "Secret" => "secrets",
            other => {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount \"{}\" to object of kind {other}",
                    call.name
                )));
            }
        };
        let about = crate::status::About {
            group: "",
            plural: table,
            kind,
        };
        let found = self
            .store
            .get(table, &crate::store::Key::new(&call.namespace, name));
        let found = found.ok_or_else(|| Status::not_found(about, name))?;
        let uid = object::text(&bound, "/uid");
        if !uid.is_empty() && uid != &*found.uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(about, name, &why));
        }
        bound["uid"] = (&*found.uid).into();
        Ok(bound)
    }

    /// The object in a request body.
    ///
    /// # Errors
    /// 400, 415.
    pub fn read(&self, call: &Call) -> Result<Value, Status> {
        super::decode::decode(call).map(|decoded| decoded.object)
    }
}
