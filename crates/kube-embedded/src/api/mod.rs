//! What a request asks, done on the store: no HTTP here.

mod checks;
mod cleanup;
mod decode;
mod delete;
pub(crate) mod events;
mod kinds;
mod options;
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
use crate::object;
use crate::resources::{Registry, Resource, definition};
use crate::status::Status;
use crate::store::{Entry, Key, Refused, Store};

/// The server without its network.
#[derive(Debug)]
pub struct Api {
    /// All objects.
    pub store: Store,
    /// What is served.
    pub registry: Registry,
    /// Who may do what.
    pub auth: Auth,
    /// Writes of one object happen one after another.
    locks: Vec<Mutex<()>>,
}

/// What a request asks for.
#[derive(Debug)]
pub struct Call {
    /// Of this resource.
    pub resource: Arc<Resource>,
    /// In this namespace; empty for all, or none.
    pub namespace: String,
    /// This object; empty for the collection.
    pub name: String,
    /// Its part, such as `status`; empty for the whole.
    pub subresource: String,
    /// Options.
    pub query: Query,
    /// Content type of the body.
    pub content_type: String,
    /// Body.
    pub body: Bytes,
    /// Who asks.
    pub user: User,
    /// Name of the program, which becomes the field manager.
    pub agent: String,
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub code: u16,
    /// Body.
    pub content: Content,
    /// `Warning` headers.
    pub warnings: Vec<String>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Content {
    /// A stored object, in the version of a resource.
    Entry(Arc<Entry>),
    /// Anything else.
    Value(Value),
    /// A list.
    List(List),
    /// A stream of changes.
    Watch(Watch),
}

impl Answer {
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

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// File that keeps the objects.
    pub journal: Option<std::path::PathBuf>,
    /// Changes that are remembered for watches and old lists, a resource.
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
    /// A server with the objects that a new cluster has, or with those of its journal.
    ///
    /// # Errors
    /// The journal can't be read or written.
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
        };
        api.restore();
        api.bootstrap()?;
        Ok(api)
    }

    /// Serves the definitions that the journal held, and indexes what it held.
    fn restore(&self) {
        for entry in self.store.snapshot(definition::TABLE).entries.values() {
            match definition::resources(&entry.object()) {
                Ok(resources) => self.registry.define(&entry.key.name, resources),
                Err(status) => tracing::warn!(
                    name = &*entry.key.name,
                    status.message,
                    "a definition of the journal is not served"
                ),
            }
        }
        for (table, resource) in self.registry.served().tables() {
            self.store.reindex(&table, &resource.fields);
        }
    }

    /// Makes what each cluster has.
    fn bootstrap(&self) -> anyhow::Result<()> {
        let objects: Vec<Value> = serde_json::from_str(include_str!("../builtin/bootstrap.json"))?;
        let served = self.registry.served();
        for object in objects {
            let (group, version) = split_api_version(object::text(&object, "/apiVersion"));
            let kind = object::text(&object, "/kind").to_owned();
            let resource = served.all().find(|resource| {
                resource.kind == kind && resource.group == group && resource.version == version
            });
            let Some(resource) = resource else {
                anyhow::bail!("bootstrap.json has a {kind}, which is not served")
            };
            let call = Call::internal(
                resource,
                object::meta(&object, "namespace"),
                object::meta(&object, "name"),
            );
            match self.create_value(&call, object) {
                Ok(_) => {}
                Err(status) if status.reason == "AlreadyExists" => {}
                Err(status) => anyhow::bail!("can't make {kind} of bootstrap.json: {}", status.message),
            }
        }
        Ok(())
    }

    fn lock(&self, table: &str, key: &Key) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (table, key).hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % self.locks.len() as u64).unwrap_or_default();
        self.locks[index].lock()
    }
}

impl Call {
    /// A call of the server itself.
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

    fn refused(&self, refused: Refused, name: &str) -> Status {
        let about = self.resource.about();
        match refused {
            Refused::Exists => Status::already_exists(about, name),
            Refused::Stale => Status::modified(about, name),
            Refused::NoNamespace => Status::plain(
                404,
                "NotFound",
                format!("namespaces \"{}\" not found", self.namespace),
            )
            .about("", "namespaces", &self.namespace),
            Refused::NamespaceTerminating => {
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
            Refused::Journal(what) => Status::internal(format!("the write could not be kept: {what}")),
        }
    }
}

/// Group and version of `apiVersion`.
#[must_use]
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// An object as a resource's version shows it.
#[must_use]
pub fn present(resource: &Resource, entry: &Entry) -> Bytes {
    if shown_as_stored(resource) {
        entry.body.clone()
    } else {
        presented(resource, entry).to_string().into()
    }
}

/// The same, parsed.
#[must_use]
pub fn presented(resource: &Resource, entry: &Entry) -> Value {
    let mut object = entry.object();
    if resource.group == "events.k8s.io" {
        events::to_new(&mut object);
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), json!(resource.api_version()));
    }
    object
}

fn shown_as_stored(resource: &Resource) -> bool {
    resource.version == resource.storage_version && resource.group != "events.k8s.io"
}
