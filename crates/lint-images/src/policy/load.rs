//! Finds, reads and validates the policy and its exceptions. Reports all errors, each with its location.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dockerfile::LineIndex;
use globset::GlobMatcher;
use toml::Spanned;

use super::baseline::Baseline;
use super::error::PolicyError;
use super::exceptions::{ExceptionEntry, ExceptionsFile};
use super::file::PolicyFile;
use super::globs::{Excluded, path_glob};
use super::{
    Approved, Exception, Exceptions, ImagePattern, Mirror, Override, Policy, Registry, RoleOverride, Stack,
    Subject, Workload,
};
use crate::date::Date;
use crate::model::{Location, Role};
use crate::sources::Store;

/// Default paths of the policy, relative to the repository root.
const PATHS: [&str; 2] = ["deploy/image-policy.toml", ".image-policy.toml"];

/// Returns the path of the repository's policy file.
pub(crate) fn find(store: &Store<'_>) -> Option<PathBuf> {
    let found = PATHS
        .iter()
        .find(|path| store.contains(path) || store.root().join(path).is_file());
    found.map(|path| store.root().join(path))
}

/// Reads the policy at `path` and the exceptions file that it names. If the policy is in the index, both are read there.
pub(crate) fn load(path: &Path, store: &Store<'_>) -> Result<Policy, PolicyError> {
    let shown = crate::sources::relative(path, store.root());
    let is_stored = store.contains(&shown);
    let store = if is_stored {
        store
    } else {
        &Store::WorkTree(store.root())
    };
    let text = read(path, &shown, store)?;
    let file: PolicyFile = parse(&text, &shown)?;
    let exceptions = match &file.exceptions.file {
        None => Exceptions::default(),
        Some(name) => {
            let path = path.parent().unwrap_or(Path::new("")).join(name);
            load_exceptions(&path, store, &file.variables)?
        }
    };
    let mut checker = Checker {
        variables: &file.variables,
        errors: Vec::new(),
    };
    let mut policy = checker.policy(&file, exceptions);
    checker.finish(&shown, &text)?;
    policy.excluded_locations = locations(&file.files.exclude, &text);
    (policy.path, policy.text) = (shown, text);
    let folder = path.parent().unwrap_or(Path::new(""));
    policy.baseline_file = file.baseline.file.as_ref().map(|name| folder.join(name));
    Ok(policy)
}

fn locations(values: &[Spanned<String>], text: &str) -> Vec<Location> {
    let lines = LineIndex::new(text);
    let location = |value: &Spanned<String>| {
        let span = value.span();
        let (line, column) = lines.position(text, span.start);
        Location { line, column, span }
    };
    values.iter().map(location).collect()
}

fn read(path: &Path, shown: &str, store: &Store<'_>) -> Result<String, PolicyError> {
    store.read_named(path, shown).map_err(|error| PolicyError {
        path: shown.to_owned(),
        text: String::new(),
        errors: vec![(None, format!("cannot read the file: {error}"))],
    })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, shown: &str) -> Result<T, PolicyError> {
    toml::from_str(text).map_err(|error| PolicyError {
        path: shown.to_owned(),
        text: text.to_owned(),
        errors: vec![(error.span(), error.message().to_owned())],
    })
}

/// Reads a baseline.
pub(crate) fn load_baseline(path: &Path, store: &Store<'_>) -> Result<Baseline, PolicyError> {
    let shown = crate::sources::relative(path, store.root());
    let store = if store.contains(&shown) {
        store
    } else {
        &Store::WorkTree(store.root())
    };
    let text = read(path, &shown, store)?;
    let file = parse(&text, &shown)?;
    Baseline::new(shown.clone(), text.clone(), file).map_err(|error| PolicyError {
        path: shown,
        text,
        errors: vec![(None, error)],
    })
}

fn load_exceptions(
    path: &Path,
    store: &Store<'_>,
    variables: &BTreeMap<String, String>,
) -> Result<Exceptions, PolicyError> {
    let shown = crate::sources::relative(path, store.root());
    let text = read(path, &shown, store)?;
    let file: ExceptionsFile = parse(&text, &shown)?;
    let mut checker = Checker {
        variables,
        errors: Vec::new(),
    };
    let lines = LineIndex::new(&text);
    let list: Vec<_> = file
        .exceptions
        .iter()
        .filter_map(|entry| checker.exception(entry, &text, &lines))
        .collect();
    checker.finish(&shown, &text)?;
    Ok(Exceptions {
        path: shown,
        text,
        list,
    })
}

struct Checker<'a> {
    variables: &'a BTreeMap<String, String>,
    errors: Vec<(Option<Range<usize>>, String)>,
}

impl Checker<'_> {
    /// Returns all errors as those of a file.
    fn finish(self, shown: &str, text: &str) -> Result<(), PolicyError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(PolicyError {
            path: shown.to_owned(),
            text: text.to_owned(),
            errors: self.errors,
        })
    }

    fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.errors.push((Some(span), message.into()));
    }

    fn policy(&mut self, file: &PolicyFile, exceptions: Exceptions) -> Policy {
        if *file.version.get_ref() != 1 {
            self.error(
                file.version.span(),
                "unsupported format version: this linter supports version 1",
            );
        }
        Policy {
            name: file.policy.name.clone(),
            document: file.policy.document.clone(),
            sections: file.sections.clone(),
            levels: file.levels.clone(),
            excluded: self.excluded(&file.files.exclude),
            excluded_locations: Vec::new(),
            path: String::new(),
            text: String::new(),
            build_arguments: file.build_arguments.clone(),
            registries: file
                .registries
                .iter()
                .filter_map(|entry| self.registry(entry))
                .collect(),
            mirrors: file
                .mirrors
                .iter()
                .filter_map(|entry| self.mirror(entry))
                .collect(),
            images: file.images.iter().map(|entry| self.image(entry)).collect(),
            workloads: file.workloads.iter().map(|entry| self.workload(entry)).collect(),
            roles: file.roles.iter().filter_map(|entry| self.role(entry)).collect(),
            inline: file.exceptions.inline.clone(),
            labels: file.hygiene.labels.clone(),
            stacks: file.stacks.iter().map(stack).collect(),
            resources: file.resources.clone(),
            exceptions,
            overrides: file
                .overrides
                .iter()
                .map(|entry| self.level_override(entry))
                .collect(),
            baseline_file: None,
            baseline: Baseline::default(),
            texts: OnceLock::new(),
        }
    }

    fn registry(&mut self, entry: &super::file::RegistryEntry) -> Option<Registry> {
        let domain = self.substitute(&entry.registry);
        match ImagePattern::prefix(&domain) {
            Ok(pattern) if pattern.path().is_empty() => Some(Registry {
                tier: entry.tier.clone(),
                domain,
                organisations: entry.organisations.clone(),
            }),
            Ok(_) => {
                self.error(
                    entry.registry.span(),
                    "a registry is a host: write the first segment of paths under organisations",
                );
                None
            }
            Err(error) => {
                self.error(entry.registry.span(), error);
                None
            }
        }
    }

    fn mirror(&mut self, entry: &super::file::MirrorEntry) -> Option<Mirror> {
        let mut side = |text: &Spanned<String>| {
            let pattern = ImagePattern::prefix(&self.substitute(text));
            pattern.map_err(|error| self.error(text.span(), error)).ok()
        };
        Some(Mirror {
            mirror: side(&entry.mirror)?,
            of: side(&entry.of)?,
        })
    }

    fn image(&mut self, entry: &super::file::ImageEntry) -> Approved {
        let roles = [(Role::Build, &entry.build), (Role::Runtime, &entry.runtime)];
        let roles: BTreeMap<_, _> = roles
            .into_iter()
            .filter_map(|(role, rule)| Some((role, rule.clone()?)))
            .collect();
        if roles.is_empty() {
            let span = entry.patterns.first().map_or(0..0, Spanned::span);
            self.error(
                span,
                "this image has no role: add build = {…}, runtime = {…} or both",
            );
        }
        Approved {
            patterns: self.patterns(&entry.patterns),
            replaces: self.patterns(&entry.replaces),
            roles,
        }
    }

    fn workload(&mut self, entry: &super::file::WorkloadEntry) -> Workload {
        self.require_text(&entry.reason, "reason");
        let rule = super::RoleRule {
            tag: entry.tag,
            digest: entry.digest,
            at_least: None,
            below: None,
            pin: None,
            variants: entry.variants.clone(),
        };
        Workload {
            patterns: self.patterns(&entry.patterns),
            rule,
        }
    }

    fn level_override(&mut self, entry: &super::file::OverrideEntry) -> Override {
        Override {
            files: entry.files.iter().filter_map(|glob| self.glob(glob)).collect(),
            levels: entry.levels.clone(),
        }
    }

    fn role(&mut self, entry: &super::file::RoleEntry) -> Option<RoleOverride> {
        self.require_text(&entry.reason, "reason");
        Some(RoleOverride {
            files: self.glob(&entry.file)?,
            stage: entry.stage.clone(),
            role: entry.role,
        })
    }

    fn patterns(&mut self, texts: &[Spanned<String>]) -> Vec<ImagePattern> {
        let mut patterns = Vec::new();
        for text in texts {
            match ImagePattern::parse(&self.substitute(text)) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.error(text.span(), error),
            }
        }
        patterns
    }

    /// Replaces variables by their values.
    fn substitute(&mut self, text: &Spanned<String>) -> String {
        let mut filled = text.get_ref().clone();
        for (name, value) in self.variables {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        if let Some(open) = filled.find('{') {
            let name = filled[open..]
                .trim_start_matches('{')
                .split('}')
                .next()
                .unwrap_or_default();
            let message = format!("unknown variable {name:?}: define it under [variables]");
            self.error(text.span(), message);
            filled = filled.replace(['{', '}'], "");
        }
        filled
    }

    fn excluded(&mut self, patterns: &[Spanned<String>]) -> Excluded {
        let (excluded, errors) = Excluded::new(patterns.iter().map(|pattern| pattern.get_ref().as_str()));
        for (index, error) in errors {
            self.error(patterns[index].span(), error);
        }
        excluded
    }

    fn glob(&mut self, text: &Spanned<String>) -> Option<GlobMatcher> {
        let glob = path_glob(text.get_ref());
        glob.map_err(|error| self.error(text.span(), error)).ok()
    }

    fn require_text(&mut self, text: &Spanned<String>, field: &str) {
        if text.get_ref().trim().is_empty() {
            self.error(text.span(), format!("empty {field}: write it for later readers"));
        }
    }

    fn date(&mut self, value: &Spanned<toml::value::Datetime>) -> Option<Date> {
        match value.get_ref().date {
            Some(date) => Some(Date::from(date)),
            None => {
                self.error(value.span(), "this is a time: write a date, such as 2026-01-31");
                None
            }
        }
    }

    fn exception(
        &mut self,
        entry: &Spanned<ExceptionEntry>,
        source: &str,
        lines: &LineIndex,
    ) -> Option<Exception> {
        let location = |span: Range<usize>| {
            let (line, column) = lines.position(source, span.start);
            Location { line, column, span }
        };
        let ExceptionEntry {
            image,
            text,
            files,
            service,
            justification,
            evidence,
            approved_by,
            date,
            review,
            rules,
        } = entry.get_ref();
        let needed = [
            (service, "service"),
            (justification, "justification"),
            (evidence, "evidence"),
            (approved_by, "approved-by"),
        ];
        needed
            .iter()
            .for_each(|(text, field)| self.require_text(text, field));
        let (given, reviewed) = (self.date(date)?, self.date(review)?);
        if reviewed <= given {
            self.error(
                review.span(),
                format!("the review date must be after the approval date, {given}"),
            );
        }
        let subject = match (image, text) {
            (Some(image), None) => Subject::Image(self.patterns(std::slice::from_ref(image)).pop()?),
            (None, Some(text)) => Subject::Text(text.get_ref().clone()),
            _ => {
                self.error(
                    entry.span(),
                    "an exception has either image or text, the reference as written",
                );
                return None;
            }
        };
        let named = image
            .as_ref()
            .or(text.as_ref())
            .map_or_else(|| entry.span(), Spanned::span);
        let files_glob = self.glob(files)?;
        Some(Exception {
            subject,
            files: files_glob,
            where_text: files.get_ref().clone(),
            service: service.get_ref().clone(),
            approved_by: approved_by.get_ref().clone(),
            date: given,
            review: reviewed,
            rules: rules.clone(),
            location: location(named),
            review_location: location(review.span()),
        })
    }
}

fn stack(entry: &super::file::StackEntry) -> Stack {
    let keys = |list: &[String]| {
        list.iter()
            .map(|key| key.split('.').map(str::to_owned).collect())
            .collect()
    };
    Stack {
        file: entry.file.clone(),
        images: keys(&entry.images),
        dockerfiles: keys(&entry.dockerfiles),
    }
}
