//! Effects of a write: deleting a namespace deletes its objects, definitions add and remove resources.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Api, Call};
use crate::object;
use crate::resources::{Resource, definition};
use crate::store::{Entry, Key, NAMESPACES};

/// Gives a definition the status that the real server's controllers would set.
pub(super) fn accept_names(object: &mut Value) {
    if object::is_deleting(object) {
        return;
    }
    let old = object.get("status").cloned().unwrap_or_default();
    object["status"] = definition::established(object, &old, &object::now());
}

impl Api {
    /// Runs after an object was created or changed.
    pub(super) fn after_write(&self, call: &Call, entry: &Arc<Entry>) {
        if &*call.resource.table == definition::TABLE {
            let object = entry.object();
            match definition::resources(&object) {
                Ok(resources) => {
                    if let Some(resource) = resources.first() {
                        self.store.reindex(&resource.table, &resource.fields);
                    }
                    self.registry.define(&entry.key.name, resources);
                }
                Err(status) => tracing::error!(
                    name = &*entry.key.name,
                    status.message,
                    "the definition is not served"
                ),
            }
        }
        if &*call.resource.table == NAMESPACES && entry.deleting {
            self.empty_namespace(&entry.key.name);
        }
    }

    /// Runs after an object was marked for deletion.
    pub(super) fn after_marking(&self, call: &Call, entry: &Arc<Entry>) {
        match &*call.resource.table {
            NAMESPACES => self.empty_namespace(&entry.key.name),
            definition::TABLE => self.empty_definition(&entry.key.name),
            _ => {}
        }
    }

    /// Runs after an object was removed.
    pub(super) fn after_removal(&self, call: &Call, entry: &Arc<Entry>) {
        let table = &*call.resource.table;
        if table == definition::TABLE {
            self.registry.undefine(&entry.key.name);
            return;
        }
        let namespace = &entry.key.namespace;
        let ending = |table: &str, name: &str| {
            self.store
                .get(table, &Key::new("", name))
                .is_some_and(|entry| entry.deleting)
        };
        if !namespace.is_empty() && ending(NAMESPACES, namespace) {
            self.finish_namespace(namespace);
        }
        if call.resource.custom && ending(definition::TABLE, table) {
            self.finish_definition(table);
        }
    }

    /// Adds the finalizer that keeps a deleted definition until its objects are gone; false for other objects.
    pub(super) fn hold_definition(call: &Call, object: &mut Value) -> bool {
        if &*call.resource.table != definition::TABLE {
            return false;
        }
        let finalizers = object::metadata_mut(object)
            .entry("finalizers")
            .or_insert_with(|| json!([]));
        if let Value::Array(list) = finalizers
            && !list.iter().any(|name| name == definition::FINALIZER)
        {
            list.push(definition::FINALIZER.into());
        }
        true
    }

    fn empty_namespace(&self, namespace: &str) {
        for (table, resource) in self.registry.served().tables() {
            if resource.namespaced {
                self.delete_all(&table, &resource, namespace);
            }
        }
        self.finish_namespace(namespace);
    }

    fn delete_all(&self, table: &str, resource: &Arc<Resource>, namespace: &str) {
        let snapshot = self.store.snapshot(table);
        let entries = snapshot
            .entries
            .values()
            .filter(|entry| namespace.is_empty() || &*entry.key.namespace == namespace);
        for entry in entries {
            let mut call = Call::internal(resource, &entry.key.namespace, &entry.key.name);
            // No kubelet exists that would end a pod.
            call.query = super::Query::parse("gracePeriodSeconds=0");
            if let Err(status) = self.delete(&call)
                && status.code != 404
            {
                tracing::warn!(table, name = call.name, status.message, "can't delete");
            }
        }
    }

    /// Removes a terminating namespace once it is empty.
    fn finish_namespace(&self, namespace: &str) {
        let served = self.registry.served();
        for (table, resource) in served.tables() {
            if resource.namespaced
                && self
                    .store
                    .snapshot(&table)
                    .entries
                    .values()
                    .any(|entry| &*entry.key.namespace == namespace)
            {
                return;
            }
        }
        let Some(resource) = served.find("", "v1", NAMESPACES) else {
            return;
        };
        let mut call = Call::internal(resource, "", namespace);
        call.subresource = "finalize".into();
        let finalized = self.modify(&call, true, &|current| {
            let mut object = current.clone();
            object["spec"]["finalizers"] = json!([]);
            Ok((object, Vec::new()))
        });
        if let Err(status) = finalized
            && status.code != 404
        {
            tracing::warn!(namespace, status.message, "cannot remove the namespace");
        }
    }

    fn empty_definition(&self, name: &str) {
        let served = self.registry.served();
        if let Some(resource) = served.tables().get(name) {
            self.delete_all(name, resource, "");
        }
        self.finish_definition(name);
    }

    fn finish_definition(&self, name: &str) {
        if !self.store.snapshot(name).entries.is_empty() {
            return;
        }
        let served = self.registry.served();
        let Some(resource) = served.find(definition::GROUP, "v1", "customresourcedefinitions") else {
            return;
        };
        let call = Call::internal(resource, "", name);
        let released = self.modify(&call, true, &|current| {
            let mut object = current.clone();
            if let Some(Value::Array(list)) = object.pointer_mut("/metadata/finalizers") {
                list.retain(|finalizer| finalizer != definition::FINALIZER);
            }
            Ok((object, Vec::new()))
        });
        if let Err(status) = released
            && status.code != 404
        {
            tracing::warn!(name, status.message, "cannot remove the definition");
        }
    }
}
