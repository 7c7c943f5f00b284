//! Executes requests on the store, without HTTP.

mod bootstrap;
mod checks;
mod cleanup;
mod decode;
mod delete;
pub(crate) mod events;
mod kinds;
mod options;
mod pods;
mod prepare;
mod read;
mod subresources;
mod watch;
mod write;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};

pub use options::Query;
pub use read::List;
pub use watch::Watch;

use crate::auth::{Auth, User};
use crate::resources::{Registry, Resource, definition};
use crate::status::Status;
use crate::store::{Entry, Key, Store, WriteError};

/// The server without its listener.
#[derive(Debug)]
pub struct Api {
    /// All objects.
    pub store: Store,
    /// The served resources.
    pub registry: Registry,
    /// Authorization.
    pub auth: Auth,
    /// Serializes the writes of one object.
    locks: Vec<Mutex<()>>,
    /// Serializes the writes of services, which share addresses and ports.
    services: Mutex<()>,
}

/// A request for a resource.
#[derive(Debug)]
pub struct Call {
    /// The resource.
    pub resource: Arc<Resource>,
    /// The namespace; empty for all, or for cluster-scoped resources.
    pub namespace: String,
    /// The name; empty for the collection.
    pub name: String,
    /// The subresource, such as `status`; empty for the object.
    pub subresource: String,
    /// Query options.
    pub query: Query,
    /// Content type of the body.
    pub content_type: String,
    /// Body.
    pub body: Bytes,
    /// The authenticated user.
    pub user: User,
    /// Name of the client program, which becomes the field manager.
    pub agent: String,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub code: u16,
    /// Body.
    pub content: Content,
    /// `Warning` headers.
    pub warnings: Vec<String>,
}

/// The body of a response.
#[derive(Debug)]
pub enum Content {
    /// A stored object, converted to the version of a resource.
    Entry(Arc<Entry>),
    /// Anything else.
    Value(Value),
    /// A list.
    List(List),
    /// A stream of changes.
    Watch(Watch),
}

impl Response {
    fn value(code: u16, value: Value) -> Self {
        Self {
            code,
            content: Content::Value(value),
            warnings: Vec::new(),
        }
    }

    fn entry(code: u16, entry: Arc<Entry>) -> Self {
        Self {
            code,
            content: Content::Entry(entry),
            warnings: Vec::new(),
        }
    }
}

/// Server options.
#[derive(Debug, Clone)]
pub struct Options {
    /// File that stores the objects.
    pub journal: Option<std::path::PathBuf>,
    /// Changes per resource that are kept for watches and old lists.
    pub history: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            journal: None,
            history: 20_000,
        }
    }
}

impl Api {
    /// Creates a server with the objects of a new cluster, or with those of its journal.
    ///
    /// # Errors
    /// The journal cannot be read or written.
    pub fn new(options: &Options) -> anyhow::Result<Self> {
        let store = match &options.journal {
            Some(path) => Store::open(options.history, Path::new(path))?,
            None => Store::new(options.history),
        };
        let auth = Auth::new(&store)?;
        let locks = (0..256).map(|_| Mutex::new(())).collect();
        let api = Self {
            store,
            registry: Registry::new(),
            auth,
            locks,
            services: Mutex::new(()),
        };
        api.restore();
        api.bootstrap()?;
        Ok(api)
    }

    /// Serves the definitions of the journal, and indexes its objects.
    fn restore(&self) {
        for entry in self.store.snapshot(definition::TABLE).entries.values() {
            match definition::resources(&entry.object()) {
                Ok(resources) => self.registry.define(&entry.key.name, resources),
                Err(status) => tracing::warn!(
                    name = &*entry.key.name,
                    status.message,
                    "a definition in the journal is not served"
                ),
            }
        }
        for (table, resource) in self.registry.served().tables() {
            self.store.reindex(&table, &resource.fields);
        }
    }

    fn lock(&self, table: &str, key: &Key) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (table, key).hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % self.locks.len() as u64).unwrap_or_default();
        self.locks[index].lock()
    }
}

impl Call {
    /// A call by the server itself.
    fn internal(resource: &Arc<Resource>, namespace: &str, name: &str) -> Self {
        Self {
            resource: Arc::clone(resource),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: String::new(),
            query: Query::default(),
            content_type: String::new(),
            body: Bytes::new(),
            user: User::admin(),
            agent: "kube-embedded".to_owned(),
        }
    }

    fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }

    fn not_found(&self) -> Status {
        Status::not_found(self.resource.about(), &self.name)
    }

    fn write_error(&self, error: WriteError, name: &str) -> Status {
        let about = self.resource.about();
        match error {
            WriteError::Exists => Status::already_exists(about, name),
            WriteError::Stale => Status::modified(about, name),
            WriteError::NoNamespace => Status::plain(
                404,
                "NotFound",
                format!("namespaces \"{}\" not found", self.namespace),
            )
            .about("", "namespaces", &self.namespace),
            WriteError::NamespaceTerminating => {
                let namespace = &self.namespace;
                let why = format!(
                    "unable to create new content in namespace {namespace} because it is being terminated"
                );
                Status::forbidden(about, name, &why).cause(crate::status::Cause {
                    reason: "NamespaceTerminating",
                    message: format!("namespace {namespace} is being terminated"),
                    field: "metadata.namespace".into(),
                })
            }
            WriteError::Journal(what) => Status::internal(format!("the write could not be kept: {what}")),
        }
    }
}

/// Group and version of `apiVersion`.
#[must_use]
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// An object converted to a resource's version.
#[must_use]
pub fn present(resource: &Resource, entry: &Entry) -> Bytes {
    if shown_as_stored(resource) {
        entry.body.clone()
    } else {
        presented(resource, entry).to_string().into()
    }
}

/// The parsed object, converted to a resource's version.
#[must_use]
pub fn presented(resource: &Resource, entry: &Entry) -> Value {
    let mut object = entry.object();
    to_version(resource, &mut object);
    object
}

/// Converts a stored object to a resource's version.
fn to_version(resource: &Resource, object: &mut Value) {
    if resource.group == "events.k8s.io" {
        events::to_new(object);
    }
    if let (Some(_), Some(schema)) = (&resource.storage_schema, &resource.schema) {
        crate::schema::prune(schema, object);
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), json!(resource.api_version()));
    }
}

/// The parsed object as an item of a list: those of built-in kinds have neither kind nor apiVersion.
#[must_use]
pub fn without_kind(resource: &Resource, entry: &Entry) -> Value {
    let mut object = presented(resource, entry);
    if let Some(map) = object.as_object_mut().filter(|_| !resource.custom) {
        map.remove("kind");
        map.remove("apiVersion");
    }
    object
}

/// Whether objects are sent as they are stored.
#[must_use]
pub fn shown_as_stored(resource: &Resource) -> bool {
    resource.version == resource.storage_version && resource.group != "events.k8s.io"
}
