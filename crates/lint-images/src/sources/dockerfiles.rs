//! Images of Dockerfiles, and checks of their stages.

use std::collections::BTreeMap;

use dockerfile::{Dockerfile, Images, Keyword, ReferenceKind, Stage, Unresolved};

use super::allowances;
use crate::model::{File, Finding, ImageError, Locations, Role, Rule, Skipped, Use};
use crate::policy::Policy;
use crate::rules;

/// Reads a Dockerfile. `bad` is the offset of the first byte that is not UTF-8; such a file is checked nevertheless.
pub(crate) fn read(file: &mut File, text: &str, policy: &Policy, bad: Option<usize>) {
    let parsed = dockerfile::parse(text);
    let mut images = dockerfile::images(&parsed, &policy.build_arguments);
    let locations = Locations::of_dockerfile(&parsed);
    file.is_dockerfile = true;
    file.allowances = allowances(text);
    file.uses.reserve_exact(images.references.len());
    let arguments = arguments(&parsed, &locations);
    for reference in std::mem::take(&mut images.references) {
        let stage = reference
            .stage
            .and_then(|index| images.stages.get(index).map(|stage| (index, stage)));
        let name = stage.map(|(index, stage)| stage.name.clone().unwrap_or_else(|| index.to_string()));
        let role = role_of(reference.kind, stage.map(|(_, stage)| stage));
        let role = policy.role_override(&file.path, name.as_deref()).unwrap_or(role);
        let missing = matches!(reference.image, Err(Unresolved::Missing(_)));
        let image = reference.image.map_err(|reason| image_error(&reason));
        let location = locations.of(reference.span);
        let raw = reference.raw;
        file.uses.push(Use {
            literal: bad.is_none() && text.get(location.span.clone()) == reference.expanded.as_deref(),
            location,
            line: reference.line,
            kind: reference.kind.name(),
            role,
            stage: name,
            expanded: reference.expanded.filter(|_| !missing),
            image,
            tag_set_by: None,
            variables: variables(&raw, &arguments),
            raw,
        });
    }
    // An upper bound in most files.
    let problems = parsed.problems.len() + images.problems.len();
    file.findings.reserve_exact(file.uses.len() + problems + 2);
    let template = template_line(text, &parsed, &images, &file.uses, &locations);
    if let Some(line) = template {
        let reason = "template: not a Dockerfile until rendered; check the rendered file".to_owned();
        file.skipped.push(Skipped {
            line: Some(line),
            reason,
            unreadable: false,
        });
        for each in file.uses.iter_mut().filter(|each| is_template(&each.raw)) {
            each.image = Err(ImageError::Template);
        }
    } else {
        build_errors(file, &parsed, &images, &locations, policy);
    }
    if let Some(at) = bad {
        let line = text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
        let message = format!("not UTF-8 from line {line} on; invalid bytes are read as �");
        file.findings
            .push(Finding::new(Rule::Unreadable, policy, locations.of(at..at), message).warning());
    }
    if template.is_none() {
        rules::hygiene::check(file, &parsed, &images, &locations, policy);
    }
}

/// Reports errors of the build's front end. References without an image have findings of their own.
fn build_errors(
    file: &mut File,
    parsed: &Dockerfile<'_>,
    images: &Images,
    locations: &Locations<'_>,
    policy: &Policy,
) {
    for problem in parsed.problems.iter().chain(&images.problems) {
        let message = format!("the build rejects this: {}", problem.message);
        let finding = Finding::new(
            Rule::Unreadable,
            policy,
            locations.of(problem.span.clone()),
            message,
        );
        file.findings.push(finding);
    }
}

fn image_error(reason: &Unresolved) -> ImageError {
    match reason {
        Unresolved::Reference(error) => ImageError::Invalid(error.to_string()),
        other => ImageError::Unresolved(other.to_string()),
    }
}

/// Returns the role of a reference: only the base of a result is run; all others serve the build.
fn role_of(kind: ReferenceKind, stage: Option<&Stage>) -> Role {
    match (kind, stage) {
        (ReferenceKind::From, Some(stage)) if stage.is_result => Role::Runtime,
        _ => Role::Build,
    }
}

/// Returns the lines of the `ARG`s before the first `FROM`, by name; the last of each counts.
fn arguments(parsed: &Dockerfile<'_>, locations: &Locations<'_>) -> BTreeMap<String, usize> {
    let head = parsed
        .instructions
        .iter()
        .take_while(|each| each.keyword() != Keyword::From);
    let arguments = head.filter(|each| each.keyword() == Keyword::Arg);
    let names = arguments.flat_map(|each| {
        let line = locations.of(each.span()).line;
        each.arguments().split_whitespace().map(move |word| (word, line))
    });
    names
        .map(|(word, line)| (word.split('=').next().unwrap_or(word).to_owned(), line))
        .collect()
}

/// Returns the variables of a reference that an `ARG` sets, with its line.
fn variables(raw: &str, arguments: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
    if !raw.contains('$') {
        return Vec::new();
    }
    let names = raw.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    names
        .filter_map(|name| Some((name.to_owned(), *arguments.get(name)?)))
        .collect()
}

/// Returns whether a text has an expression or a statement of Jinja, Go templates or ERB.
fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("<%")
}

/// Returns the first line whose instruction or image is a template, if the front end rejects it. Other instructions have
/// braces that are text to them.
fn template_line(
    text: &str,
    parsed: &Dockerfile<'_>,
    images: &Images,
    uses: &[Use],
    locations: &Locations<'_>,
) -> Option<usize> {
    let problems = parsed.problems.iter().chain(&images.problems);
    let rejected = problems.filter(|problem| is_template(text.get(problem.span.clone()).unwrap_or_default()));
    let rejected = rejected.map(|problem| locations.of(problem.span.clone()).line);
    let unknown = uses
        .iter()
        .filter(|each| each.image.is_err() && is_template(&each.raw));
    rejected.chain(unknown.map(|each| each.location.line)).min()
}
