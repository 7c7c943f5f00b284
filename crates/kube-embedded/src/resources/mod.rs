//! The served resources: kind, shape and columns of each.

pub mod builtin;
pub mod definition;
pub mod names;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use crate::schema::Schema;
use crate::status::About;
use crate::store::FieldPaths;

/// A resource in one version.
#[derive(Debug, Clone)]
pub struct Resource {
    /// API group; empty for the core.
    pub group: String,
    /// Version of the group.
    pub version: String,
    /// Plural name, as in URLs.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind.
    pub kind: String,
    /// Kind of its lists.
    pub list_kind: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Whether it is namespaced.
    pub namespaced: bool,
    /// Its verbs.
    pub verbs: Vec<String>,
    /// Its subresources and their verbs.
    pub subresources: Vec<Subresource>,
    /// Shape of its objects.
    pub schema: Option<Schema>,
    /// Name of its shape in the OpenAPI document.
    pub schema_name: String,
    /// The schema as its definition has it; null for built-in ones.
    pub document: Value,
    /// Table of its objects in the store.
    pub table: Arc<str>,
    /// Storage version.
    pub storage_version: String,
    /// Shape of its objects in the storage version of a custom resource, if that is another one.
    pub storage_schema: Option<Schema>,
    /// Whether it comes from a definition.
    pub custom: bool,
    /// Selectable fields.
    pub fields: FieldPaths,
    /// Columns of its table output; `None` for the built-in columns of its kind.
    pub columns: Option<Vec<Column>>,
    /// JSON paths of a custom resource's scale.
    pub scale: Option<ScalePaths>,
}

/// A subresource.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Name, such as `status`.
    pub name: String,
    /// Group of its kind, if different.
    pub group: String,
    /// Version of its kind, if different.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Its verbs.
    pub verbs: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// `format`.
    pub format: String,
    /// Description.
    pub description: String,
    /// 0 is always shown, others only with wide output.
    pub priority: i64,
    /// Path of its value.
    pub path: crate::jsonpath::Path,
}

/// JSON paths of a scale subresource.
#[derive(Debug, Clone)]
pub struct ScalePaths {
    /// Desired number of replicas.
    pub spec: String,
    /// Current number of replicas.
    pub status: String,
    /// Label selector as text; may be empty.
    pub selector: String,
}

impl Resource {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        group_version(&self.group, &self.version)
    }

    /// The name in error messages.
    #[must_use]
    pub fn about(&self) -> About<'_> {
        About {
            group: &self.group,
            plural: &self.plural,
            kind: &self.kind,
        }
    }

    /// Whether it has a verb.
    #[must_use]
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// A subresource by name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources
            .iter()
            .find(|subresource| subresource.name == name)
    }

    /// Whether it has a status subresource.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

/// `v1` or `apps/v1`.
#[must_use]
pub fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// A group with its versions, the preferred one first.
pub type Groups = BTreeMap<String, Vec<(String, Vec<Arc<Resource>>)>>;

/// All served resources.
#[derive(Debug)]
pub struct Registry {
    builtin: Vec<Arc<Resource>>,
    state: RwLock<Arc<Served>>,
}

/// One version of the served resources.
#[derive(Debug, Default)]
pub struct Served {
    by_path: BTreeMap<(String, String, String), Arc<Resource>>,
    custom: BTreeMap<String, Vec<Arc<Resource>>>,
    /// Number of changes.
    pub generation: u64,
}

impl Served {
    /// By group, version and plural name.
    #[must_use]
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path
            .get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// All resources.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_path.values()
    }

    /// By group and version; versions in the order of preference.
    #[must_use]
    pub fn groups(&self) -> Groups {
        let mut groups = Groups::new();
        for resource in self.by_path.values() {
            let versions = groups.entry(resource.group.clone()).or_default();
            match versions
                .iter_mut()
                .find(|(version, _)| *version == resource.version)
            {
                Some((_, resources)) => resources.push(Arc::clone(resource)),
                None => versions.push((resource.version.clone(), vec![Arc::clone(resource)])),
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by(|(one, _), (other, _)| names::compare_versions(other, one));
        }
        groups
    }

    /// One resource per table, to visit all objects.
    #[must_use]
    pub fn tables(&self) -> BTreeMap<Arc<str>, Arc<Resource>> {
        let stored = self.by_path.values().filter(|resource| resource.allows("list"));
        stored
            .map(|resource| (Arc::clone(&resource.table), Arc::clone(resource)))
            .collect()
    }
}

impl Registry {
    /// Creates the registry with the built-in resources.
    #[must_use]
    pub fn new() -> Self {
        let builtin: Vec<Arc<Resource>> = builtin::resources().into_iter().map(Arc::new).collect();
        let registry = Self {
            builtin,
            state: RwLock::default(),
        };
        registry.change(|_| {});
        registry
    }

    /// The currently served resources.
    #[must_use]
    pub fn served(&self) -> Arc<Served> {
        Arc::clone(&self.state.read())
    }

    /// Serves the resources of a definition, replacing those of the earlier definition with that name.
    pub fn define(&self, name: &str, resources: Vec<Resource>) {
        self.change(|custom| {
            custom.insert(name.to_owned(), resources.into_iter().map(Arc::new).collect());
        });
    }

    /// Removes the resources of a definition.
    pub fn undefine(&self, name: &str) {
        self.change(|custom| {
            custom.remove(name);
        });
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<String, Vec<Arc<Resource>>>)) {
        let mut state = self.state.write();
        let mut custom = state.custom.clone();
        edit(&mut custom);
        let all = self.builtin.iter().chain(custom.values().flatten());
        let by_path = all.map(|resource| {
            let key = (
                resource.group.clone(),
                resource.version.clone(),
                resource.plural.clone(),
            );
            (key, Arc::clone(resource))
        });
        *state = Arc::new(Served {
            by_path: by_path.collect(),
            generation: state.generation + 1,
            custom,
        });
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
