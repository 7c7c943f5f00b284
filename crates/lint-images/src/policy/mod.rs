//! Validated policy, in the form that the rules use.

mod baseline;
mod error;
mod exceptions;
mod file;
mod globs;
mod load;
mod matching;

pub(crate) use baseline::{Baseline, about};
pub(crate) use exceptions::{Exception, Exceptions, Subject};
#[cfg(test)]
pub(crate) use file::PolicyFile;
pub(crate) use file::{DigestRule, RoleRule, TagRule};
pub(crate) use globs::path_glob;
pub(crate) use load::{find, load, load_baseline};
pub(crate) use matching::{ImagePattern, Version, list};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dockerfile::ImageReference;
use globset::GlobMatcher;

use self::globs::Excluded;
use crate::model::{Level, Location, Role, Rule, Text};
use crate::rules::hygiene::missing_labels;
use crate::sources::ResourceEntry;

/// Validated policy. The default has no entries: it reads files without checking them.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// Path of the file, relative to the repository root.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) name: String,
    pub(crate) document: Option<String>,
    pub(crate) sections: BTreeMap<Rule, String>,
    pub(crate) levels: BTreeMap<Rule, Level>,
    pub(crate) excluded: Excluded,
    /// Locations of the excluding patterns in the policy.
    pub(crate) excluded_locations: Vec<Location>,
    pub(crate) build_arguments: BTreeMap<String, String>,
    pub(crate) registries: Vec<Registry>,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) images: Vec<Approved>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) roles: Vec<RoleOverride>,
    pub(crate) inline: Vec<Rule>,
    pub(crate) labels: Vec<String>,
    pub(crate) stacks: Vec<Stack>,
    /// Kinds of YAML files in addition to the presets.
    pub(crate) resources: Vec<ResourceEntry>,
    pub(crate) exceptions: Exceptions,
    pub(crate) overrides: Vec<Override>,
    /// Path of the baseline that the policy names.
    pub(crate) baseline_file: Option<PathBuf>,
    pub(crate) baseline: Baseline,
    texts: OnceLock<Texts>,
}

/// Texts that many findings share.
#[derive(Debug)]
struct Texts {
    registries: Arc<str>,
    see: BTreeMap<Rule, Arc<str>>,
    no_label: (Arc<str>, Arc<str>),
}

/// Approved registry, optionally limited to organisations.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) tier: String,
    pub(crate) domain: String,
    /// All organisations if empty.
    pub(crate) organisations: Vec<String>,
}

/// Mirror of a registry.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) mirror: ImagePattern,
    pub(crate) of: ImagePattern,
}

/// Approved images for stages.
#[derive(Debug)]
pub(crate) struct Approved {
    pub(crate) patterns: Vec<ImagePattern>,
    pub(crate) replaces: Vec<ImagePattern>,
    pub(crate) roles: BTreeMap<Role, RoleRule>,
}

/// Approved images for workloads.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) patterns: Vec<ImagePattern>,
    pub(crate) rule: RoleRule,
}

/// Role of stages, which takes precedence over the derived one.
#[derive(Debug)]
pub(crate) struct RoleOverride {
    pub(crate) files: GlobMatcher,
    pub(crate) stage: Option<String>,
    pub(crate) role: Role,
}

/// Levels of rules in some files.
#[derive(Debug)]
pub(crate) struct Override {
    pub(crate) files: Vec<GlobMatcher>,
    pub(crate) levels: BTreeMap<Rule, Level>,
}

/// TOML file that refers to images and Dockerfiles.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) file: String,
    pub(crate) images: Vec<Vec<String>>,
    pub(crate) dockerfiles: Vec<Vec<String>>,
}

impl Policy {
    pub(crate) fn level(&self, rule: Rule) -> Level {
        self.levels.get(&rule).copied().unwrap_or(match rule {
            Rule::Hygiene => Level::Warning,
            _ => Level::Error,
        })
    }

    /// Returns the level of a finding in a file; the last override of its rule counts. A finding that is at most a warning
    /// stays one.
    pub(crate) fn level_in(&self, path: &str, rule: Rule, level: Level) -> Level {
        let covers = |each: &&Override| each.files.iter().any(|glob| glob.is_match(path));
        let own = self
            .overrides
            .iter()
            .rev()
            .filter(covers)
            .find_map(|each| each.levels.get(&rule).copied());
        match own {
            Some(own) if level == self.level(rule) => own,
            Some(own) => own.min(level),
            None => level,
        }
    }

    fn texts(&self) -> &Texts {
        self.texts.get_or_init(|| Texts {
            registries: matching::allowed_registries(&self.registries).into(),
            see: Rule::ALL
                .into_iter()
                .map(|rule| (rule, format!("see {}", self.citation(rule)).into()))
                .collect(),
            no_label: self.all_labels_missing(),
        })
    }

    /// Returns the line "allowed registries: …".
    pub(crate) fn allowed_registries(&self) -> Arc<str> {
        Arc::clone(&self.texts().registries)
    }

    /// Returns the line "allowed for build stages: …".
    pub(crate) fn allowed_images(&self, role: Role, image: &ImageReference) -> String {
        let title = format!("allowed for {} stages", role.name());
        list(&title, self.patterns_for(role), image)
    }

    /// Returns the line "see ADR-028, …".
    pub(crate) fn see(&self, rule: Rule) -> Arc<str> {
        self.texts().see.get(&rule).map_or_else(|| "".into(), Arc::clone)
    }

    /// Returns message and help for a stage without any of the labels.
    pub(crate) fn no_label(&self) -> (Text, Text) {
        let (message, help) = self.texts().no_label.clone();
        (message.into(), help.into())
    }

    fn all_labels_missing(&self) -> (Arc<str>, Arc<str>) {
        let all: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        let (message, help) = missing_labels(&all);
        ((*message).into(), (*help).into())
    }

    /// Returns the approved images for a role, in the policy's order.
    pub(crate) fn patterns_for(&self, role: Role) -> impl Iterator<Item = &ImagePattern> {
        self.images
            .iter()
            .filter(move |each| each.roles.contains_key(&role))
            .flat_map(|each| &each.patterns)
    }

    /// Returns how messages cite the policy: its name, the rule's section, its document.
    pub(crate) fn citation(&self, rule: Rule) -> String {
        let section = self
            .sections
            .get(&rule)
            .map(|section| format!(", {section}"))
            .unwrap_or_default();
        let document = self
            .document
            .as_ref()
            .map(|document| format!(" ({document})"))
            .unwrap_or_default();
        format!("{}{section}{document}", self.name)
    }

    /// Returns the original of an image from a declared mirror; otherwise the image itself.
    pub(crate) fn unmirrored<'a>(&self, image: &'a ImageReference) -> Cow<'a, ImageReference> {
        let found = self.mirrors.iter().find_map(|mirror| {
            let rest = mirror.mirror.rest_of(image)?;
            let tag = image.tag().map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = image
                .digest()
                .map(|digest| format!("@{digest}"))
                .unwrap_or_default();
            format!("{}/{rest}{tag}{digest}", mirror.of.text()).parse().ok()
        });
        found.map_or(Cow::Borrowed(image), Cow::Owned)
    }

    /// Returns the registry entry that covers an image.
    pub(crate) fn registry_of(&self, image: &ImageReference) -> Option<&Registry> {
        self.registries.iter().find(|registry| {
            registry.domain.eq_ignore_ascii_case(image.domain())
                && (registry.organisations.is_empty()
                    || image.path().split_once('/').is_some_and(|(organisation, _)| {
                        registry
                            .organisations
                            .iter()
                            .any(|allowed| allowed == organisation)
                    }))
        })
    }

    pub(crate) fn approved(&self, image: &ImageReference) -> Option<&Approved> {
        self.images
            .iter()
            .find(|approved| approved.patterns.iter().any(|pattern| pattern.matches(image)))
    }

    pub(crate) fn workload(&self, image: &ImageReference) -> Option<&Workload> {
        self.workloads
            .iter()
            .find(|workload| workload.patterns.iter().any(|pattern| pattern.matches(image)))
    }

    pub(crate) fn role_override(&self, path: &str, stage: Option<&str>) -> Option<Role> {
        let covers = |each: &&RoleOverride| {
            each.files.is_match(path) && each.stage.as_deref().is_none_or(|name| Some(name) == stage)
        };
        self.roles.iter().find(covers).map(|each| each.role)
    }
}
