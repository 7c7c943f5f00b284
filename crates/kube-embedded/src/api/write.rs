//! The verbs create, update and patch.

use std::sync::Arc;

use serde_json::Value;

use super::decode::{self, Decoded};
use super::prepare;
use super::{Api, Call, Content, Response, cleanup, kinds, subresources};
use crate::object;
use crate::patch;
use crate::resources::{Resource, definition, names};
use crate::status::{Cause, Status};
use crate::store::{Entry, Key};

/// Maximum attempts of a create whose generated name already exists.
const NAME_TRIES: usize = 8;

/// Computes the new object and warnings from the current one.
pub(super) type Edit<'a> = dyn Fn(&Value) -> Result<(Value, Vec<String>), Status> + 'a;

/// Options of a write.
pub(super) struct WriteOptions {
    pub(super) dry_run: bool,
    pub(super) manager: String,
}

impl WriteOptions {
    pub(super) fn of(call: &Call, kind: &str) -> Result<Self, Status> {
        let requested = call.query.get("fieldManager");
        if requested.len() > 128 {
            let cause = Cause {
                reason: "FieldValueTooLong",
                message: "Too long: may not be more than 128 bytes".into(),
                field: "fieldManager".into(),
            };
            return Err(Status::invalid("meta.k8s.io", kind, "", vec![cause]));
        }
        let manager = if requested.is_empty() {
            call.agent.as_str()
        } else {
            requested
        };
        Ok(Self {
            dry_run: call.query.dry_run(kind)?,
            manager: manager.to_owned(),
        })
    }
}

/// The error of a body about another object than that of the URL.
pub(super) fn wrong_name(name: &str, expected: &str) -> Status {
    Status::bad_request(format!(
        "the name of the object ({name}) does not match the name on the URL ({expected})"
    ))
}

/// Completes a CustomResourceDefinition, and checks that its resources can be served.
fn accept_definition(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    if &*resource.table == definition::TABLE {
        definition::complete(object);
        definition::resources(object)?;
        cleanup::accept_names(object);
    }
    Ok(())
}

impl Api {
    /// Creates an object.
    ///
    /// # Errors
    /// 400, 409, 422 and other errors of the real server.
    pub fn create(&self, call: &Call) -> Result<Response, Status> {
        let Decoded { object, warnings } = decode::decode(call)?;
        let response = self.create_value(call, object)?;
        Ok(Response { warnings, ..response })
    }

    pub(super) fn create_value(&self, call: &Call, mut object: Value) -> Result<Response, Status> {
        let options = WriteOptions::of(call, "CreateOptions")?;
        if !object::meta(&object, "resourceVersion").is_empty() && !options.dry_run {
            return Err(Status::plain(
                500,
                "",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        prepare::new_object(call, &mut object)?;
        let resource = &call.resource;
        let generated =
            object::meta(&object, "name").is_empty() && !object::meta(&object, "generateName").is_empty();
        let _allocation = self.lock_services(call);
        for _ in 0..NAME_TRIES {
            if generated {
                let name = format!("{}{}", object::meta(&object, "generateName"), names::suffix());
                object::metadata_mut(&mut object).insert("name".into(), name.into());
            }
            let name = object::meta(&object, "name").to_owned();
            let key = Key::new(&call.namespace, &name);
            if let Some(existing) = self.store.get(&resource.table, &key) {
                if generated {
                    continue;
                }
                return Err(self.exists_unless_no_namespace(call, &existing));
            }
            self.check_namespace(call, &name)?;
            kinds::complete(resource, &mut object);
            patch::managed::record_update(resource, &mut object, None, &options.manager, &call.subresource);
            kinds::allocate(resource, &mut object, None);
            self.allocate_service(call, &mut object, None)?;
            prepare::check_new(call, &object)?;
            accept_definition(resource, &mut object)?;
            if options.dry_run {
                return Ok(Response::value(201, prepare::through_storage(resource, object)));
            }
            match self.store.create(
                &resource.table,
                key,
                prepare::to_storage(resource, object.clone()),
                &resource.fields,
            ) {
                Ok(entry) => {
                    self.after_write(call, &entry);
                    return Ok(Response::entry(201, entry));
                }
                Err(crate::store::WriteError::Exists) if generated => {}
                Err(error) => return Err(call.write_error(error, &name)),
            }
        }
        let name = object::meta(&object, "name");
        Err(Status::already_exists(resource.about(), name))
    }

    fn exists_unless_no_namespace(&self, call: &Call, existing: &Entry) -> Status {
        if let Err(status) = self.check_namespace(call, &existing.key.name) {
            return status;
        }
        let status = Status::already_exists(call.resource.about(), &existing.key.name);
        if !existing.deleting {
            return status;
        }
        let message = format!("object is being deleted: {}", status.message);
        Status { message, ..status }
    }

    /// Like the admission of the real server: runs before the object is validated.
    fn check_namespace(&self, call: &Call, name: &str) -> Result<(), Status> {
        use crate::store::{NAMESPACES, WriteError};
        if call.namespace.is_empty() {
            return Ok(());
        }
        match self.store.get(NAMESPACES, &Key::new("", &call.namespace)) {
            None => Err(call.write_error(WriteError::NoNamespace, name)),
            Some(entry) if entry.deleting => Err(call.write_error(WriteError::NamespaceTerminating, name)),
            Some(_) => Ok(()),
        }
    }

    /// Replaces an object or its subresource.
    ///
    /// # Errors
    /// 400, 404, 409, 422.
    pub fn update(&self, call: &Call) -> Result<Response, Status> {
        if call.subresource == "scale" {
            return subresources::update_scale(self, call);
        }
        let Decoded { object, warnings } = decode::decode(call)?;
        let sent = object::meta(&object, "resourceVersion");
        let sent = (!sent.is_empty()).then(|| sent.to_owned());
        if call.resource.custom
            && sent.is_none()
            && self.store.get(&call.resource.table, &call.key()).is_some()
        {
            let cause = Cause::invalid(
                "metadata.resourceVersion",
                "0x0",
                "must be specified for an update",
            );
            return Err(Status::invalid(
                &call.resource.group,
                &call.resource.plural,
                &call.name,
                vec![cause],
            ));
        }
        let response = self.modify(call, false, &|_| Ok((object.clone(), Vec::new())))?;
        Ok(Response { warnings, ..response })
    }

    /// Patches an object; an apply patch may also create it.
    ///
    /// # Errors
    /// 400, 404, 409, 415, 422.
    pub fn patch(&self, call: &Call) -> Result<Response, Status> {
        let kind = patch::Kind::of(&call.content_type, &call.resource)?;
        if call.subresource == "scale" {
            return subresources::patch_scale(self, call, kind);
        }
        let force = call.query.flag("force");
        if kind != patch::Kind::Apply && !call.query.get("force").is_empty() {
            let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
            return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
        }
        if kind != patch::Kind::Apply && self.store.get(&call.resource.table, &call.key()).is_none() {
            return Err(call.not_found());
        }
        let patch = patch::Patch::read(kind, &call.body)?;
        if kind == patch::Kind::Apply {
            return self.apply(call, &patch, force);
        }
        self.modify(call, false, &|current| {
            let mut patched = patch.apply(&call.resource, current)?;
            let warnings = decode::clean(call, &mut patched);
            let warnings = warnings.map_err(|status| match kind {
                patch::Kind::Apply => status,
                _ => decode::of_patch(status, call, &patched),
            })?;
            Ok((patched, warnings))
        })
    }

    fn apply(&self, call: &Call, patch: &patch::Patch, force: bool) -> Result<Response, Status> {
        let manager = call.query.get("fieldManager");
        if manager.is_empty() {
            let cause = Cause::required("fieldManager", "is required for apply patch");
            return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![cause]));
        }
        let mut wanted = patch.value().clone();
        patch::apply::check_applied(&call.resource, &call.name, &call.namespace, &mut wanted)?;
        let dropped = decode::clean(call, &mut wanted)?;
        loop {
            if self.store.get(&call.resource.table, &call.key()).is_none() {
                if !call.subresource.is_empty() {
                    return Err(call.not_found());
                }
                match self.create_applied(call, wanted.clone(), manager) {
                    // Another client created it meanwhile: apply to that.
                    Err(status) if status.reason == "AlreadyExists" => continue,
                    other => {
                        return other.map(|response| Response {
                            warnings: dropped,
                            ..response
                        });
                    }
                }
            }
            let applied = self.modify(call, true, &|current| {
                let merged = patch::apply::apply(
                    &call.resource,
                    current,
                    &wanted,
                    manager,
                    force,
                    &call.subresource,
                )?;
                Ok((merged, Vec::new()))
            });
            match applied {
                Err(status) if status.code == 404 && call.subresource.is_empty() => {}
                other => {
                    return other.map(|response| Response {
                        warnings: dropped,
                        ..response
                    });
                }
            }
        }
    }

    fn create_applied(&self, call: &Call, wanted: Value, manager: &str) -> Result<Response, Status> {
        let mut object = wanted.clone();
        patch::apply::record_applied(&call.resource, &mut object, &wanted, manager, "");
        self.create_value(call, object)
    }

    /// Changes an object: `edit` computes the new one. `applied`: `edit` has recorded the field managers.
    pub(super) fn modify(&self, call: &Call, applied: bool, edit: &Edit<'_>) -> Result<Response, Status> {
        let options = WriteOptions::of(
            call,
            if call.subresource.is_empty() {
                "UpdateOptions"
            } else {
                "PatchOptions"
            },
        )?;
        let key = call.key();
        let guard = self.lock(&call.resource.table, &key);
        let entry = self
            .store
            .get(&call.resource.table, &key)
            .ok_or_else(|| call.not_found())?;
        let current = super::presented(&call.resource, &entry);
        let (mut object, warnings) = edit(&current)?;
        self.check_preconditions(call, &entry, &object)?;
        prepare::replacement(call, &current, &mut object);
        kinds::complete(&call.resource, &mut object);
        if !applied {
            let (manager, part) = (&options.manager, &call.subresource);
            patch::managed::record_update(&call.resource, &mut object, Some(&current), manager, part);
        }
        kinds::allocate(&call.resource, &mut object, Some(&current));
        let allocation = self.lock_services(call);
        self.allocate_service(call, &mut object, Some(&current))?;
        prepare::check_replacement(call, &current, &object)?;
        accept_definition(&call.resource, &mut object)?;
        let gone = object::is_deleting(&object)
            && object::finalizers(&object).is_empty()
            && kinds::is_released(&call.resource, &object);
        if !gone && patch::managed::same(&object, &current) {
            return Ok(Response {
                code: 200,
                content: Content::Entry(entry),
                warnings,
            });
        }
        if options.dry_run {
            return Ok(Response {
                warnings,
                ..Response::value(200, prepare::through_storage(&call.resource, object))
            });
        }
        let stored = prepare::to_storage(&call.resource, object);
        let table = &call.resource.table;
        let written = if gone {
            self.store.delete(table, &entry, stored, &call.resource.fields)
        } else {
            self.store.update(table, &entry, stored, &call.resource.fields)
        };
        let written = written.map_err(|error| call.write_error(error, &call.name))?;
        drop((guard, allocation));
        if gone {
            self.after_removal(call, &written)
        } else {
            self.after_write(call, &written)
        }
        Ok(Response {
            warnings,
            ..Response::entry(200, written)
        })
    }

    fn check_preconditions(&self, call: &Call, entry: &Arc<Entry>, object: &Value) -> Result<(), Status> {
        let about = call.resource.about();
        let name = object::meta(object, "name");
        if !name.is_empty() && name != call.name {
            return Err(wrong_name(name, &call.name));
        }
        let namespace = object::meta(object, "namespace");
        if !namespace.is_empty() && namespace != call.namespace {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(message));
        }
        let uid = object::meta(object, "uid");
        if call.content_type.contains("patch") {
            if !uid.is_empty() && uid != &*entry.uid {
                let cause = Cause::invalid("metadata.uid", &names::quoted(uid), "field is immutable");
                return Err(Status::invalid(
                    &call.resource.group,
                    &call.resource.kind,
                    &call.name,
                    vec![cause.clone(), cause],
                ));
            }
        } else if !uid.is_empty() && uid != &*entry.uid {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                entry.uid
            );
            return Err(Status::conflict(about, &call.name, &why));
        }
        let version = object::meta(object, "resourceVersion");
        if version.is_empty() || version == entry.revision.to_string() {
            return Ok(());
        }
        Err(Status::modified(about, &call.name))
    }
}
