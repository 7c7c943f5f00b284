//! The verbs delete and deletecollection.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Api, Call, Content, Response, kinds};
use crate::object;
use crate::protobuf;
use crate::status::{About, Cause, Details, Status};
use crate::store::{Entry, NAMESPACES, WriteError};

/// Namespaces that exist in every cluster.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// Options of a deletion.
#[derive(Debug, Default, Clone)]
struct DeleteOptions {
    uid: Option<String>,
    version: Option<String>,
    grace: Option<i64>,
    dry_run: bool,
}

impl DeleteOptions {
    fn read(call: &Call) -> Result<Self, Status> {
        let mut options = Self {
            dry_run: call.query.dry_run("DeleteOptions")?,
            ..Self::default()
        };
        options.grace = call.query.number("gracePeriodSeconds")?;
        if call.body.is_empty() {
            return Ok(options);
        }
        let body = if call.content_type.starts_with(protobuf::MEDIA_TYPE) {
            protobuf::decode(&call.body).map_err(|error| error.message("DeleteOptions", &call.body))
        } else {
            serde_json::from_slice(&call.body)
                .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
        };
        let body: Value = body.map_err(Status::bad_request)?;
        let text = |pointer: &str| {
            body.pointer(pointer)
                .and_then(Value::as_str)
                .map(ToOwned::to_owned)
        };
        options.uid = text("/preconditions/uid");
        options.version = text("/preconditions/resourceVersion");
        options.grace = body
            .get("gracePeriodSeconds")
            .and_then(Value::as_i64)
            .or(options.grace);
        options.dry_run |= object::strings(body.get("dryRun")).contains(&"All");
        if let Some(policy) = text("/propagationPolicy")
            && !matches!(policy.as_str(), "Background" | "Foreground" | "Orphan")
        {
            let supported =
                ["\"Foreground\"", "\"Background\"", "\"Orphan\"", "\"nil\""].map(ToOwned::to_owned);
            let cause = Cause::not_supported("propagationPolicy", &format!("\"{policy}\""), &supported);
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", vec![cause]));
        }
        Ok(options)
    }
}

impl Api {
    /// Deletes an object, or marks it for deletion while it has finalizers.
    ///
    /// # Errors
    /// 404; 409 for an unmet precondition.
    pub fn delete(&self, call: &Call) -> Result<Response, Status> {
        let options = DeleteOptions::read(call)?;
        let (entry, gone) = self.delete_one(call, &options)?;
        if gone && !kinds::delete_returns_object(&call.resource) {
            return Ok(Response::value(200, success(call, &entry)));
        }
        Ok(Response::entry(200, entry))
    }

    /// Deletes all objects of a selection and returns them.
    ///
    /// # Errors
    /// 400 for invalid options.
    pub fn delete_collection(&self, call: &Call) -> Result<Response, Status> {
        let options = DeleteOptions::read(call)?;
        let mut response = self.list(call)?;
        if let Content::List(list) = &mut response.content {
            for entry in &mut list.entries {
                let one = Call {
                    name: entry.key.name.to_string(),
                    namespace: entry.key.namespace.to_string(),
                    ..Call::internal(&call.resource, "", "")
                };
                match self.delete_one(&one, &options) {
                    Ok((deleted, _)) => *entry = deleted,
                    // Another client was faster.
                    Err(status) if status.code == 404 => {}
                    Err(status) => return Err(status),
                }
            }
            list.revision = self.store.revision();
        }
        Ok(response)
    }

    /// The object was removed, or only marked.
    fn delete_one(&self, call: &Call, options: &DeleteOptions) -> Result<(Arc<Entry>, bool), Status> {
        let resource = &call.resource;
        let key = call.key();
        let guard = self.lock(&resource.table, &key);
        let entry = self
            .store
            .get(&resource.table, &key)
            .ok_or_else(|| call.not_found())?;
        if &*resource.table == NAMESPACES && IMMORTAL.contains(&call.name.as_str()) {
            return Err(Status::forbidden(
                resource.about(),
                &call.name,
                "this namespace may not be deleted",
            ));
        }
        check_preconditions(call, options, &entry)?;
        let mut object = entry.object();
        let grace = kinds::grace(resource, &object, options.grace);
        let held = !object::finalizers(&object).is_empty() || grace > 0 || &*resource.table == NAMESPACES;
        let held = Self::hold_definition(call, &mut object) || held;
        if options.dry_run {
            return Ok((entry, !held));
        }
        let written = if held {
            if entry.deleting
                && (grace > 0 || object::meta(&object, "deletionGracePeriodSeconds").is_empty())
                && !lowers_grace(&object, grace)
            {
                return Ok((entry, false));
            }
            // Namespaces and definitions are marked by their own registries, which do not count generations.
            if !kinds::mark_terminating(resource, &mut object) {
                mark(&mut object, grace);
            }
            self.store
                .update(&resource.table, &entry, object, &resource.fields)
        } else {
            if entry.deleting {
                object::metadata_mut(&mut object).insert("deletionGracePeriodSeconds".into(), 0.into());
            }
            self.store
                .delete(&resource.table, &entry, object, &resource.fields)
        };
        let written = written.map_err(|error: WriteError| call.write_error(error, &call.name))?;
        drop(guard);
        if held {
            self.after_marking(call, &written)
        } else {
            self.after_removal(call, &written)
        }
        Ok((written, !held))
    }
}

/// A second deletion may shorten the grace period of the first one.
fn lowers_grace(object: &Value, grace: i64) -> bool {
    let given = object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    given.is_some_and(|given| grace < given)
}

fn mark(object: &mut Value, grace: i64) {
    let metadata = object::metadata_mut(object);
    metadata
        .entry("deletionTimestamp")
        .or_insert_with(|| object::now().into());
    metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}

fn check_preconditions(call: &Call, options: &DeleteOptions, entry: &Entry) -> Result<(), Status> {
    let resource = &call.resource;
    // This error has the kind where all others have the resource.
    let about = About {
        group: &resource.group,
        plural: &resource.kind,
        kind: &resource.kind,
    };
    let mismatch = |field: &str, sent: &str, found: &str, happened: &str| {
        let why = format!(
            "the {field} in the precondition ({sent}) does not match the {field} in record ({found}). The object might have been {happened}"
        );
        Err(Status::conflict(about, &call.name, &why))
    };
    if let Some(uid) = options.uid.as_ref().filter(|uid| **uid != *entry.uid) {
        return mismatch("UID", uid, &entry.uid, "deleted and then recreated");
    }
    let current = entry.revision.to_string();
    if let Some(version) = options.version.as_ref().filter(|version| **version != current) {
        return mismatch("ResourceVersion", version, &current, "modified");
    }
    Ok(())
}

fn success(call: &Call, entry: &Entry) -> Value {
    let details = Details {
        name: call.name.clone(),
        group: call.resource.group.clone(),
        kind: call.resource.plural.clone(),
        uid: entry.uid.to_string(),
        ..Details::default()
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.body()})
}
