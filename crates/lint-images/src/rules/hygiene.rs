//! Requirements of the policy's template for a runtime stage: user, labels, one form of health check.

use dockerfile::{Base, Dockerfile, Images, Instruction, Keyword};

use crate::model::{File, Finding, Locations, Role, Rule, Text};
use crate::policy::Policy;

/// Checks the last stage of a Dockerfile, including the stages that it is based on.
pub(crate) fn check(
    file: &mut File,
    parsed: &Dockerfile<'_>,
    images: &Images,
    locations: &Locations<'_>,
    policy: &Policy,
) {
    let Some(last) = images.stages.len().checked_sub(1) else {
        return;
    };
    let stage = &images.stages[last];
    let from = &parsed.instructions[stage.instructions.start];
    let role = policy
        .role_override(&file.path, stage.name.as_deref())
        .unwrap_or(Role::Runtime);
    if role != Role::Runtime || stage.base == Base::Unknown {
        return;
    }
    let instructions = inherited(parsed, images, last);
    let mut found = Vec::new();
    found.extend(user(&instructions, from, locations, policy));
    found.extend(labels(&instructions, from, parsed.escape, locations, policy));
    found.extend(health_check(&instructions, locations, policy));
    let see = policy.see(Rule::Hygiene);
    file.findings
        .extend(found.into_iter().map(|finding| finding.help(see.clone())));
}

/// Returns the instructions of a stage and of the stages that it is based on, the stage's own last.
fn inherited<'a, 'b>(parsed: &'a Dockerfile<'b>, images: &Images, stage: usize) -> Vec<&'a Instruction<'b>> {
    let mut chain = vec![stage];
    while let Some(Base::Stage(base)) = chain.last().map(|index| images.stages[*index].base) {
        chain.push(base);
    }
    let stages = chain.iter().rev().map(|index| &images.stages[*index]);
    let count = stages.clone().map(|stage| stage.instructions.len()).sum();
    let mut found = Vec::with_capacity(count);
    for stage in stages {
        found.extend(&parsed.instructions[stage.instructions.clone()]);
    }
    found
}

fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    name.trim_matches(['"', '\'']) == "root" || name.parse() == Ok(0_u64)
}

fn user(
    instructions: &[&Instruction<'_>],
    from: &Instruction<'_>,
    locations: &Locations<'_>,
    policy: &Policy,
) -> Option<Finding> {
    let last = instructions
        .iter()
        .rev()
        .find(|each| each.keyword() == Keyword::User);
    let (location, message) = match last {
        Some(user) if is_root(user.arguments()) => (locations.of(user.span()), "the image runs as root"),
        Some(_) => return None,
        None => (
            locations.of(from.keyword_span()),
            "no USER: the image runs as the user of its base image, root by default",
        ),
    };
    Some(
        Finding::new(Rule::Hygiene, policy, location, message)
            .help("end the last stage with USER, such as USER 1001"),
    )
}

fn labels(
    instructions: &[&Instruction<'_>],
    from: &Instruction<'_>,
    escape: char,
    locations: &Locations<'_>,
    policy: &Policy,
) -> Option<Finding> {
    let set: Vec<&str> = instructions
        .iter()
        .filter(|each| each.keyword() == Keyword::Label)
        .flat_map(|each| each.quoted_words(escape))
        .map(|word| {
            let end = memchr::memchr(b'=', word.as_bytes());
            word[..end.unwrap_or(word.len())].trim_matches(['"', '\''])
        })
        .collect();
    let missing: Vec<_> = policy
        .labels
        .iter()
        .map(String::as_str)
        .filter(|label| !set.contains(label))
        .collect();
    if missing.is_empty() {
        return None;
    }
    // Most stages have none of the labels.
    let (message, help) = match missing.len() == policy.labels.len() {
        true => policy.no_label(),
        false => missing_labels(&missing),
    };
    let location = locations.of(from.keyword_span());
    Some(Finding::new(Rule::Hygiene, policy, location, message).help(help))
}

/// Returns message and help for missing labels.
pub(crate) fn missing_labels(missing: &[&str]) -> (Text, Text) {
    let message = format!("missing labels: {}", missing.join(", "));
    let example: Vec<_> = missing.iter().map(|label| format!("{label}=\"…\"")).collect();
    (message.into(), format!("add LABEL {}", example.join(" ")).into())
}

/// Reports `HEALTHCHECK CMD ["curl", …] || exit 1`: a shell command that looks like the exec form.
fn health_check(
    instructions: &[&Instruction<'_>],
    locations: &Locations<'_>,
    policy: &Policy,
) -> Option<Finding> {
    let mut checks = instructions
        .iter()
        .filter(|each| each.keyword() == Keyword::Healthcheck);
    let mixed = checks.find(|each| {
        let command = each
            .arguments()
            .split_once(char::is_whitespace)
            .map_or("", |(_, command)| command.trim_start());
        command.starts_with('[') && !each.is_json()
    })?;
    let message = "HEALTHCHECK mixes exec and shell form: the shell runs its array as a test command";
    let finding = Finding::new(Rule::Hygiene, policy, locations.of(mixed.span()), message);
    Some(finding.help("write a JSON array only, or a shell command without brackets"))
}
