//! Finds and reads policy and exceptions. All errors are collected, each with its place in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use dockerfile::LineIndex;
use globset::{Glob, GlobSet, GlobSetBuilder};
use toml::Spanned;

use super::exceptions::{ExceptionEntry, ExceptionsFile};
use super::file::PolicyFile;
use super::{
    Approved, Exception, Exceptions, ImagePattern, Mirror, Policy, Registry, RoleOverride, Stack, Workload,
};
use crate::date::Date;
use crate::model::{Place, Role};
use crate::output::text;

/// Where a policy is looked for, from the repository's root.
const PLACES: [&str; 2] = ["deploy/image-policy.toml", ".image-policy.toml"];

/// What is wrong with a policy or exceptions file.
#[derive(Debug)]
pub(crate) struct PolicyError {
    path: String,
    text: String,
    problems: Vec<(Option<Range<usize>>, String)>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (span, message)) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            let Some(span) = span else {
                write!(formatter, "{}: {message}", self.path)?;
                continue;
            };
            let (line, column) = LineIndex::new(&self.text).position(&self.text, span.start);
            write!(formatter, "{}:{line}:{column}: {message}", self.path)?;
            let shown = text::snippet(&self.text, &self.path, span.clone(), false);
            write!(formatter, "\n{}", shown.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// The repository's policy file, where it has one.
pub(crate) fn find(root: &Path) -> Option<PathBuf> {
    PLACES
        .iter()
        .map(|place| root.join(place))
        .find(|path| path.is_file())
}

/// Reads the policy at `path` and the exceptions that it names. `shown` is the path that messages use.
pub(crate) fn load(path: &Path, root: &Path) -> Result<Policy, PolicyError> {
    let shown = crate::sources::relative(path, root);
    let text = read(path, &shown)?;
    let file: PolicyFile = parse(&text, &shown)?;
    let exceptions = match &file.exceptions.file {
        None => Exceptions::default(),
        Some(name) => {
            let path = path.parent().unwrap_or(Path::new("")).join(name);
            load_exceptions(&path, root, &file.variables)?
        }
    };
    let mut checker = Checker {
        variables: &file.variables,
        problems: Vec::new(),
    };
    let policy = checker.policy(&file, exceptions);
    match checker.problems.is_empty() {
        true => Ok(policy),
        false => Err(PolicyError {
            path: shown,
            text,
            problems: checker.problems,
        }),
    }
}

fn read(path: &Path, shown: &str) -> Result<String, PolicyError> {
    std::fs::read_to_string(path).map_err(|error| PolicyError {
        path: shown.to_owned(),
        text: String::new(),
        problems: vec![(None, format!("can't read it: {error}"))],
    })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, shown: &str) -> Result<T, PolicyError> {
    toml::from_str(text).map_err(|error| PolicyError {
        path: shown.to_owned(),
        text: text.to_owned(),
        problems: vec![(error.span(), error.message().to_owned())],
    })
}

fn load_exceptions(
    path: &Path,
    root: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<Exceptions, PolicyError> {
    let shown = crate::sources::relative(path, root);
    let text = read(path, &shown)?;
    let file: ExceptionsFile = parse(&text, &shown)?;
    let mut checker = Checker {
        variables,
        problems: Vec::new(),
    };
    let lines = LineIndex::new(&text);
    let list: Vec<_> = file
        .exceptions
        .iter()
        .filter_map(|entry| checker.exception(entry, &text, &lines))
        .collect();
    match checker.problems.is_empty() {
        true => Ok(Exceptions {
            path: shown,
            text,
            list,
        }),
        false => Err(PolicyError {
            path: shown,
            text,
            problems: checker.problems,
        }),
    }
}

struct Checker<'a> {
    variables: &'a BTreeMap<String, String>,
    problems: Vec<(Option<Range<usize>>, String)>,
}

impl Checker<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push((Some(span), message.into()));
    }

    fn policy(&mut self, file: &PolicyFile, exceptions: Exceptions) -> Policy {
        if *file.version.get_ref() != 1 {
            self.problem(file.version.span(), "this linter reads version 1 of the format");
        }
        let level_of_all = file.levels.clone();
        Policy {
            name: file.policy.name.clone(),
            document: file.policy.document.clone(),
            sections: file.sections.clone(),
            levels: level_of_all,
            excluded: self.globs(&file.files.exclude),
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
            roles: file.roles.iter().map(|entry| self.role(entry)).collect(),
            inline: file.exceptions.inline.clone(),
            labels: file.hygiene.labels.clone(),
            stacks: file.stacks.iter().map(stack).collect(),
            exceptions,
            texts: OnceLock::new(),
        }
    }

    fn registry(&mut self, entry: &super::file::RegistryEntry) -> Option<Registry> {
        let domain = self.filled(&entry.registry);
        match ImagePattern::prefix(&domain) {
            Ok(pattern) if pattern.path().is_empty() => Some(Registry {
                tier: entry.tier.clone(),
                domain,
                organisations: entry.organisations.clone(),
            }),
            Ok(_) => {
                self.problem(
                    entry.registry.span(),
                    "a registry is a host: put the first part of paths into organisations",
                );
                None
            }
            Err(error) => {
                self.problem(entry.registry.span(), error);
                None
            }
        }
    }

    fn mirror(&mut self, entry: &super::file::MirrorEntry) -> Option<Mirror> {
        let mut side = |text: &Spanned<String>| {
            let pattern = ImagePattern::prefix(&self.filled(text));
            pattern.map_err(|error| self.problem(text.span(), error)).ok()
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
            self.problem(
                span,
                "this image is approved for no role: give it build = {…}, runtime = {…} or both",
            );
        }
        Approved {
            patterns: self.patterns(&entry.patterns),
            replaces: self.patterns(&entry.replaces),
            roles,
        }
    }

    fn workload(&mut self, entry: &super::file::WorkloadEntry) -> Workload {
        self.said(&entry.reason, "reason");
        let rule = super::RoleRule {
            tag: entry.tag,
            digest: entry.digest,
            at_least: None,
            below: None,
            pin: None,
        };
        Workload {
            patterns: self.patterns(&entry.patterns),
            rule,
        }
    }

    fn role(&mut self, entry: &super::file::RoleEntry) -> RoleOverride {
        self.said(&entry.reason, "reason");
        let files = self.globs(std::slice::from_ref(&entry.file));
        RoleOverride {
            files,
            stage: entry.stage.clone(),
            role: entry.role,
        }
    }

    fn patterns(&mut self, texts: &[Spanned<String>]) -> Vec<ImagePattern> {
        let mut patterns = Vec::new();
        for text in texts {
            match ImagePattern::parse(&self.filled(text)) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.problem(text.span(), error),
            }
        }
        patterns
    }

    /// Puts the variables' values in.
    fn filled(&mut self, text: &Spanned<String>) -> String {
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
            let message = format!("there is no variable {name:?} under [variables]");
            self.problem(text.span(), message);
            filled = filled.replace(['{', '}'], "");
        }
        filled
    }

    fn globs(&mut self, texts: &[Spanned<String>]) -> GlobSet {
        let mut builder = GlobSetBuilder::new();
        for text in texts {
            match Glob::new(text.get_ref()) {
                Ok(glob) => drop(builder.add(glob)),
                Err(error) => self.problem(text.span(), error.to_string()),
            }
        }
        builder.build().unwrap_or_else(|error| {
            self.problems.push((None, error.to_string()));
            GlobSet::empty()
        })
    }

    fn said(&mut self, text: &Spanned<String>, field: &str) {
        if text.get_ref().trim().is_empty() {
            self.problem(
                text.span(),
                format!("{field} is empty: say it, for whoever reads this in a year"),
            );
        }
    }

    fn date(&mut self, value: &Spanned<toml::value::Datetime>) -> Option<Date> {
        match value.get_ref().date {
            Some(date) => Some(Date::from(date)),
            None => {
                self.problem(value.span(), "this is a time: write a date, as in 2026-01-31");
                None
            }
        }
    }

    fn exception(
        &mut self,
        entry: &Spanned<ExceptionEntry>,
        text: &str,
        lines: &LineIndex,
    ) -> Option<Exception> {
        let place = |span: Range<usize>| {
            let (line, column) = lines.position(text, span.start);
            Place { line, column, span }
        };
        let ExceptionEntry {
            image,
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
        needed.iter().for_each(|(text, field)| self.said(text, field));
        let (given, reviewed) = (self.date(date)?, self.date(review)?);
        if reviewed <= given {
            self.problem(
                review.span(),
                format!("the review is not after the day it was given, {given}"),
            );
        }
        let pattern = self.patterns(std::slice::from_ref(image)).pop()?;
        let files_glob = match Glob::new(files.get_ref()) {
            Ok(glob) => glob.compile_matcher(),
            Err(error) => {
                self.problem(files.span(), error.to_string());
                return None;
            }
        };
        Some(Exception {
            image: pattern,
            files: files_glob,
            where_text: files.get_ref().clone(),
            service: service.get_ref().clone(),
            approved_by: approved_by.get_ref().clone(),
            date: given,
            review: reviewed,
            rules: rules.clone(),
            place: place(image.span()),
            review_place: place(review.span()),
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
