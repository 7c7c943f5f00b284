//! What the policy's template asks of a runtime stage: a user, labels, one form of health check.

use dockerfile::{Base, Dockerfile, Images, Instruction, Keyword};

use crate::model::{File, Finding, Places, Role, Rule, Text};
use crate::policy::Policy;

/// Judges the last stage of a Dockerfile, with the stages that it begins with.
pub(crate) fn check(
    file: &mut File,
    parsed: &Dockerfile<'_>,
    images: &Images,
    places: &Places<'_>,
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
    found.extend(user(&instructions, from, places, policy));
    found.extend(labels(&instructions, from, parsed.escape, places, policy));
    found.extend(health_check(&instructions, places, policy));
    let see = policy.see(Rule::Hygiene);
    file.findings
        .extend(found.into_iter().map(|finding| finding.help(see.clone())));
}

/// The instructions of a stage and of those that it begins with, the nearest last.
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
    places: &Places<'_>,
    policy: &Policy,
) -> Option<Finding> {
    let last = instructions
        .iter()
        .rev()
        .find(|each| each.keyword() == Keyword::User);
    let (place, message) = match last {
        Some(user) if is_root(user.arguments()) => (places.place(user.span()), "the result runs as root"),
        Some(_) => return None,
        None => (
            places.place(from.keyword_span()),
            "the result runs as the user of its base image, which is root unless that says otherwise",
        ),
    };
    Some(
        Finding::new(Rule::Hygiene, policy, place, message)
            .help("end the last stage with a USER, as in USER 1001"),
    )
}

fn labels(
    instructions: &[&Instruction<'_>],
    from: &Instruction<'_>,
    escape: char,
    places: &Places<'_>,
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
    // Most stages have none of them.
    let (message, help) = match missing.len() == policy.labels.len() {
        true => policy.no_label(),
        false => no_label(&missing),
    };
    let place = places.place(from.keyword_span());
    Some(Finding::new(Rule::Hygiene, policy, place, message).help(help))
}

/// That labels are missing, and what to add.
pub(crate) fn no_label(missing: &[&str]) -> (Text, Text) {
    let message = format!("the result has no label {}", missing.join(", "));
    let example: Vec<_> = missing.iter().map(|label| format!("{label}=\"…\"")).collect();
    (message.into(), format!("add LABEL {}", example.join(" ")).into())
}

/// `HEALTHCHECK CMD ["curl", …] || exit 1` is a shell's text that looks like an exec form: the array is never run as one.
fn health_check(instructions: &[&Instruction<'_>], places: &Places<'_>, policy: &Policy) -> Option<Finding> {
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
    let message = "HEALTHCHECK mixes the exec and the shell form, so its array is read by a shell as a test";
    let finding = Finding::new(Rule::Hygiene, policy, places.place(mixed.span()), message);
    Some(finding.help("write a JSON array and nothing behind it, or a shell command without brackets"))
}
