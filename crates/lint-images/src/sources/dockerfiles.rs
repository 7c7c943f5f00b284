//! Images of Dockerfiles, and what the rules about stages need.

use dockerfile::{Images, ReferenceKind, Stage, Unresolved};

use super::allowances;
use crate::model::{File, Finding, NoImage, Places, Role, Rule, Use};
use crate::policy::Policy;
use crate::rules;

/// Reads a Dockerfile. `bad` is the first byte that is not UTF-8: such a file is judged, and that it is not is said.
pub(crate) fn read(file: &mut File, text: &str, policy: &Policy, bad: Option<usize>) {
    let parsed = dockerfile::parse(text);
    let mut images = dockerfile::images(&parsed, &policy.build_arguments);
    let places = Places::of(&parsed);
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
        let image = reference.image.map_err(|reason| no_image(&reason));
        let place = places.place(reference.span);
        file.uses.push(Use {
            literal: bad.is_none() && text.get(place.span.clone()) == reference.expanded.as_deref(),
            place,
            line: reference.line,
            kind: reference.kind.name(),
            role,
            stage: name,
            raw: reference.raw,
            expanded: reference.expanded.filter(|_| !missing),
            image,
        });
    }
    // About as many as there will be.
    let problems = parsed.problems.len() + images.problems.len();
    file.findings.reserve_exact(file.uses.len() + problems + 2);
    refused(file, &parsed, &images, &places, policy);
    if let Some(at) = bad {
        let line = text[..text.floor_char_boundary(at)].matches('\n').count() + 1;
        let message = format!("the file is not UTF-8 from line {line} on; other bytes are read as �");
        file.findings
            .push(Finding::new(Rule::Unreadable, policy, places.place(at..at), message).warning());
    }
    rules::hygiene::check(file, &parsed, &images, &places, policy);
}

/// Why the front end would not build the file. References without an image have findings of their own.
fn refused(
    file: &mut File,
    parsed: &dockerfile::Dockerfile<'_>,
    images: &Images,
    places: &Places<'_>,
    policy: &Policy,
) {
    for problem in parsed.problems.iter().chain(&images.problems) {
        let message = format!("the build refuses this: {}", problem.message);
        let finding = Finding::new(
            Rule::Unreadable,
            policy,
            places.place(problem.span.clone()),
            message,
        );
        file.findings.push(finding);
    }
}

fn no_image(reason: &Unresolved) -> NoImage {
    match reason {
        Unresolved::Reference(error) => NoImage::Illegal(error.to_string()),
        other => NoImage::Unresolved(other.to_string()),
    }
}

/// Only what a stage begins with can be run; what is copied from, and front ends, are of the build.
fn role_of(kind: ReferenceKind, stage: Option<&Stage>) -> Role {
    match (kind, stage) {
        (ReferenceKind::From, Some(stage)) if stage.is_result => Role::Runtime,
        _ => Role::Build,
    }
}
