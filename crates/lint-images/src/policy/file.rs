//! Policy file as written. Editors show these doc comments (docs/image-policy.schema.json).

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::model::{Level, Role, Rule};
use crate::sources::ResourceEntry;

/// Registry policy: images that a repository may build on and run.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PolicyFile {
    /// Version of the file format: 1.
    #[cfg_attr(test, schemars(with = "u32"))]
    pub(crate) version: Spanned<u32>,
    /// Name and document of the policy, which messages cite.
    pub(crate) policy: About,
    /// Values for `{name}` in patterns.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// Level per rule. Default: `warning` for `hygiene`, `error` for all others.
    #[serde(default)]
    pub(crate) levels: BTreeMap<Rule, Level>,
    /// Levels in some files; the last one that covers a file counts.
    #[serde(default)]
    pub(crate) overrides: Vec<OverrideEntry>,
    /// Section of the policy's document per rule, which messages cite.
    #[serde(default)]
    pub(crate) sections: BTreeMap<Rule, String>,
    /// Files that are not checked.
    #[serde(default)]
    pub(crate) files: Files,
    /// Values for build arguments, as `--build-arg` sets them.
    #[serde(default)]
    pub(crate) build_arguments: BTreeMap<String, String>,
    /// Approved registries for stages.
    #[serde(default)]
    pub(crate) registries: Vec<RegistryEntry>,
    /// Mirrors of registries.
    #[serde(default)]
    pub(crate) mirrors: Vec<MirrorEntry>,
    /// Approved images for stages.
    #[serde(default)]
    pub(crate) images: Vec<ImageEntry>,
    /// Approved images for workloads, which are run without being built here.
    #[serde(default)]
    pub(crate) workloads: Vec<WorkloadEntry>,
    /// Roles of stages that the Dockerfile alone does not define.
    #[serde(default)]
    pub(crate) roles: Vec<RoleEntry>,
    /// Exceptions file, and rules that comments may except.
    #[serde(default)]
    pub(crate) exceptions: ExceptionSettings,
    /// Findings that are accepted, so that only new ones fail.
    #[serde(default)]
    pub(crate) baseline: BaselineSettings,
    /// Requirements for runtime stages.
    #[serde(default)]
    pub(crate) hygiene: HygieneSettings,
    /// TOML files that refer to images and Dockerfiles.
    #[serde(default)]
    pub(crate) stacks: Vec<StackEntry>,
    /// Kinds of YAML files, in addition to those that the linter knows.
    #[serde(default)]
    pub(crate) resources: Vec<ResourceEntry>,
}

/// Name and document of the policy.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct About {
    /// Short name, such as "ADR-028".
    pub(crate) name: String,
    /// Path or URL of the document.
    pub(crate) document: Option<String>,
}

/// Levels of rules in some files.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OverrideEntry {
    /// Globs of files, relative to the repository root; `*` is within one folder, `**` any folders.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) files: Vec<Spanned<String>>,
    /// Level per rule.
    pub(crate) levels: BTreeMap<Rule, Level>,
}

/// Selection of files.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Files {
    /// Files to exclude, in the syntax of .gitignore, relative to the repository root.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) exclude: Vec<Spanned<String>>,
}

/// Approved registry for stages.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RegistryEntry {
    /// Tier that messages show, such as "required" or "approved".
    pub(crate) tier: String,
    /// Host, with its port if it is not the default.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) registry: Spanned<String>,
    /// Approved organisations (first segments of paths); all if absent.
    #[serde(default)]
    pub(crate) organisations: Vec<String>,
}

/// Mirror of a registry.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct MirrorEntry {
    /// Mirror as written in files: a host, optionally with the first segments of a path.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) mirror: Spanned<String>,
    /// Original that the mirror replaces.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) of: Spanned<String>,
}

/// Approved images for stages.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ImageEntry {
    /// Images with their registries; a trailing `/*` matches all images below. `{name}` is replaced by a variable.
    #[serde(rename = "match")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) patterns: Vec<Spanned<String>>,
    /// Images that messages suggest to replace with this one.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) replaces: Vec<Spanned<String>>,
    /// Tag rule for build stages; absent: not approved for them.
    pub(crate) build: Option<RoleRule>,
    /// Tag rule for runtime stages; absent: not approved for them.
    pub(crate) runtime: Option<RoleRule>,
}

/// Approved images for workloads.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct WorkloadEntry {
    /// Images with their registries; a trailing `/*` matches all images below.
    #[serde(rename = "match")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) patterns: Vec<Spanned<String>>,
    /// Reason for the approval.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) reason: Spanned<String>,
    /// Required form of the tag.
    #[serde(default)]
    pub(crate) tag: TagRule,
    /// Requirement for a digest.
    #[serde(default)]
    pub(crate) digest: DigestRule,
    /// Allowed variants behind the version, such as `slim` or `alpine*`.
    #[serde(default)]
    pub(crate) variants: Vec<String>,
}

/// Tag rule of an image in a role.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RoleRule {
    /// Required form of the tag.
    #[serde(default)]
    pub(crate) tag: TagRule,
    /// Requirement for a digest.
    #[serde(default)]
    pub(crate) digest: DigestRule,
    /// Lowest allowed version.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) at_least: Option<super::Version>,
    /// Lowest version that is too high.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) below: Option<super::Version>,
    /// Tag that messages suggest if no tag follows from the version.
    pub(crate) pin: Option<String>,
    /// Allowed variants behind the version, such as `slim` or `alpine*`.
    #[serde(default)]
    pub(crate) variants: Vec<String>,
}

/// Form of a tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TagRule {
    /// Any tag.
    #[default]
    Any,
    /// `latest`, written explicitly.
    Latest,
    /// One number: `9`.
    Major,
    /// Two numbers: `1.25`.
    Minor,
    /// Three numbers or more, with or without a suffix: `1.25.3`.
    Patch,
}

/// Requirement for a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DigestRule {
    /// A digest is optional.
    #[default]
    Allowed,
    /// A digest is required.
    Required,
    /// A digest is an error.
    Forbidden,
}

/// Role of stages that the Dockerfile alone does not define.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RoleEntry {
    /// Glob of files, relative to the repository root; `*` is within one folder, `**` any folders.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) file: Spanned<String>,
    /// Name of the stage; all stages of the file if absent.
    pub(crate) stage: Option<String>,
    /// Role of the stage.
    pub(crate) role: Role,
    /// Reason for the role.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) reason: Spanned<String>,
}

/// Settings of exceptions.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ExceptionSettings {
    /// Exceptions file, relative to the policy.
    pub(crate) file: Option<String>,
    /// Rules that a comment may except: `# lint-images: allow RULE: reason`.
    #[serde(default)]
    pub(crate) inline: Vec<Rule>,
}

/// Findings that are accepted.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BaselineSettings {
    /// Baseline file, relative to the policy; `lint-images --update-baseline` writes it.
    pub(crate) file: Option<String>,
}

/// Requirements for runtime stages.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HygieneSettings {
    /// Labels that the result of a Dockerfile must have.
    #[serde(default)]
    pub(crate) labels: Vec<String>,
}

/// TOML file that refers to images and Dockerfiles.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StackEntry {
    /// File, relative to the repository root.
    pub(crate) file: String,
    /// Keys of images, dot-separated; `*` matches any one segment.
    #[serde(default)]
    pub(crate) images: Vec<String>,
    /// Keys of Dockerfiles, whose values are relative to the file.
    #[serde(default)]
    pub(crate) dockerfiles: Vec<String>,
}
