//! Images of Dockerfiles, and checks of their stages.

use dockerfile::{Images, ReferenceKind, Stage, Unresolved};

use super::allowances;
use crate::model::{File, Finding, ImageError, Locations, Role, Rule, Use};
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
        file.uses.push(Use {
            literal: bad.is_none() && text.get(location.span.clone()) == reference.expanded.as_deref(),
            location,
            line: reference.line,
            kind: reference.kind.name(),
            role,
            stage: name,
            raw: reference.raw,
            expanded: reference.expanded.filter(|_| !missing),
            image,
        });
    }
    // An upper bound in most files.
    let problems = parsed.problems.len() + images.problems.len();
    file.findings.reserve_exact(file.uses.len() + problems + 2);
    build_errors(file, &parsed, &images, &locations, policy);
    if let Some(at) = bad {
        let line = text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
        let message = format!("not UTF-8 from line {line} on; invalid bytes are read as �");
        file.findings
            .push(Finding::new(Rule::Unreadable, policy, locations.of(at..at), message).warning());
    }
    rules::hygiene::check(file, &parsed, &images, &locations, policy);
}

/// Reports errors of the build's front end. References without an image have findings of their own.
fn build_errors(
    file: &mut File,
    parsed: &dockerfile::Dockerfile<'_>,
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
