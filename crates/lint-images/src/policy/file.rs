//! The policy file as it is written. The comments here are what editors show (docs/image-policy.schema.json).

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::model::{Level, Role, Rule};

/// A registry policy: which images a repository may build on and run.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PolicyFile {
    /// The format of this file: 1.
    #[cfg_attr(test, schemars(with = "u32"))]
    pub(crate) version: Spanned<u32>,
    /// What messages call the policy and where it can be read.
    pub(crate) policy: About,
    /// Values for `{name}` in patterns, so that a version is written once.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// How much each rule weighs; what is not here is an error, hygiene a warning.
    #[serde(default)]
    pub(crate) levels: BTreeMap<Rule, Level>,
    /// The section of the policy's document that a rule comes from.
    #[serde(default)]
    pub(crate) sections: BTreeMap<Rule, String>,
    /// Which files are not looked at.
    #[serde(default)]
    pub(crate) files: Files,
    /// What `--build-arg` would give.
    #[serde(default)]
    pub(crate) build_arguments: BTreeMap<String, String>,
    /// Registries that stages may come from.
    #[serde(default)]
    pub(crate) registries: Vec<RegistryEntry>,
    /// Registries that stand for others.
    #[serde(default)]
    pub(crate) mirrors: Vec<MirrorEntry>,
    /// Images that stages may begin with or copy from.
    #[serde(default)]
    pub(crate) images: Vec<ImageEntry>,
    /// Images that may be run without being built here.
    #[serde(default)]
    pub(crate) workloads: Vec<WorkloadEntry>,
    /// Roles of stages that can't be told from the Dockerfile alone.
    #[serde(default)]
    pub(crate) roles: Vec<RoleEntry>,
    /// Where exceptions are, and which rules may be excepted within a file.
    #[serde(default)]
    pub(crate) exceptions: ExceptionSettings,
    /// What runtime stages have.
    #[serde(default)]
    pub(crate) hygiene: HygieneSettings,
    /// TOML files that name images and Dockerfiles.
    #[serde(default)]
    pub(crate) stacks: Vec<StackEntry>,
}

/// What the policy is.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct About {
    /// Its short name, as in "ADR-028".
    pub(crate) name: String,
    /// Where it can be read.
    pub(crate) document: Option<String>,
}

/// Which files are looked at.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Files {
    /// Globs of files that are not looked at, from the repository's root.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) exclude: Vec<Spanned<String>>,
}

/// A registry that stages may come from.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RegistryEntry {
    /// What the policy calls it: "required", "approved".
    pub(crate) tier: String,
    /// Host, with its port if it has one.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) registry: Spanned<String>,
    /// First parts of paths; without them all of the registry is meant.
    #[serde(default)]
    pub(crate) organisations: Vec<String>,
}

/// A registry that stands for another.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MirrorEntry {
    /// What is written in files: a host, or a host and the first parts of a path.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) mirror: Spanned<String>,
    /// What it stands for.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) of: Spanned<String>,
}

/// Images that stages may begin with or copy from.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ImageEntry {
    /// Images with their registries; `/*` at the end stands for all below. `{name}` is a variable's value.
    #[serde(rename = "match")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) patterns: Vec<Spanned<String>>,
    /// Images that this one is used instead of: messages suggest the edit.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) replaces: Vec<Spanned<String>>,
    /// In build stages.
    pub(crate) build: Option<RoleRule>,
    /// In runtime stages.
    pub(crate) runtime: Option<RoleRule>,
}

/// Images that may be run without being built here.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WorkloadEntry {
    /// Images with their registries; `/*` at the end stands for all below.
    #[serde(rename = "match")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) patterns: Vec<Spanned<String>>,
    /// Why they may.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) reason: Spanned<String>,
    /// What their tags are.
    #[serde(default)]
    pub(crate) tag: TagRule,
    /// Whether they have digests.
    #[serde(default)]
    pub(crate) digest: DigestRule,
}

/// What the tag of an image is in a role.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RoleRule {
    /// How much of the version the tag says.
    #[serde(default)]
    pub(crate) tag: TagRule,
    /// Whether a digest stands beside it.
    #[serde(default)]
    pub(crate) digest: DigestRule,
    /// The lowest version that the tag may name.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) at_least: Option<super::Version>,
    /// The lowest version that is too high.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) below: Option<super::Version>,
    /// The tag that messages suggest, and that `--fix` writes where the tag names no version.
    pub(crate) pin: Option<String>,
}

/// How much of a version a tag says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TagRule {
    /// Anything.
    #[default]
    Any,
    /// `latest`, written out.
    Latest,
    /// One number: `9`.
    Major,
    /// Two numbers: `1.25`.
    Minor,
    /// Three numbers or more: `1.25.3`, with a suffix or without.
    Patch,
}

/// Whether a digest stands beside the tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DigestRule {
    /// It may.
    #[default]
    Allowed,
    /// It must.
    Required,
    /// It must not.
    Forbidden,
}

/// Roles of stages that can't be told from the Dockerfile alone.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RoleEntry {
    /// A glob of files, from the repository's root.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) file: Spanned<String>,
    /// The stage's name; without it all stages of the file are meant.
    pub(crate) stage: Option<String>,
    /// Its role.
    pub(crate) role: Role,
    /// Why.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) reason: Spanned<String>,
}

/// Where exceptions are.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ExceptionSettings {
    /// The file with them, beside this one.
    pub(crate) file: Option<String>,
    /// Rules that a comment in a file may except: `# lint-images: allow RULE: reason`.
    #[serde(default)]
    pub(crate) inline: Vec<Rule>,
}

/// What runtime stages have.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HygieneSettings {
    /// Labels that the result of a Dockerfile has.
    #[serde(default)]
    pub(crate) labels: Vec<String>,
}

/// A TOML file that names images and Dockerfiles.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StackEntry {
    /// The file, from the repository's root.
    pub(crate) file: String,
    /// Keys of images, with dots between the parts; `*` stands for any one part.
    #[serde(default)]
    pub(crate) images: Vec<String>,
    /// Keys of Dockerfiles, relative to the file.
    #[serde(default)]
    pub(crate) dockerfiles: Vec<String>,
}
