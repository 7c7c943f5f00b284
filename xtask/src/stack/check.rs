//! Validation of a stack file beyond its syntax: names, needs, ports, files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use toml::Spanned;

use super::{Problem, Stack, model::Job, position};

/// Returns all problems, in the order of the file.
pub(super) fn problems(stack: &Stack, text: &str) -> Vec<Problem> {
    let mut found = Found {
        text,
        problems: Vec::new(),
    };
    names(stack, &mut found);
    needs(stack, &mut found);
    cycles(stack, &mut found);
    ports(stack, &mut found);
    files(stack, &mut found);
    build(stack, &mut found);
    test(stack, &mut found);
    found
        .problems
        .sort_by_key(|problem| (problem.line, problem.column));
    found.problems
}

struct Found<'a> {
    text: &'a str,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn at<T>(&mut self, value: &Spanned<T>, message: String) {
        let (line, column) = position(self.text, value.span().start);
        self.problems.push(Problem {
            line,
            column,
            message,
        });
    }

    fn line_of<T>(&self, value: &Spanned<T>) -> usize {
        position(self.text, value.span().start).0
    }
}

/// Names of tasks that every plan has.
const TASKS: [&str; 11] = [
    "preflight",
    "check",
    "compile",
    "cluster",
    "node",
    "base",
    "namespace",
    "secrets",
    "test",
    "collect",
    "teardown",
];

fn names(stack: &Stack, found: &mut Found<'_>) {
    let mut seen: BTreeMap<&str, &Spanned<String>> = BTreeMap::new();
    for name in stack.names() {
        let text = name.get_ref().as_str();
        if !is_dns_label(text) {
            let valid = "lowercase letters, digits and '-', at most 40, starting with a letter";
            let message = format!("invalid name \"{text}\": names of Kubernetes objects are {valid}");
            found.at(name, message);
        }
        if TASKS.contains(&text) {
            let message = format!("reserved name \"{text}\": every run has a task of this name");
            found.at(name, message);
        }
        if let Some(first) = seen.insert(text, name) {
            let (earlier, later) = if first.span().start < name.span().start {
                (first, name)
            } else {
                (name, first)
            };
            let line = found.line_of(earlier);
            let message = format!("duplicate name \"{text}\": first used in line {line}");
            found.at(later, message);
        }
    }
    for (what, text) in [("name", &stack.stack.name), ("namespace", &stack.stack.namespace)] {
        if !is_dns_label(text) {
            let message =
                format!("invalid {what} \"{text}\" in [stack]: expected lowercase letters, digits and '-'");
            found.problems.push(Problem {
                line: 1,
                column: 1,
                message,
            });
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 40
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(legal)
}

fn needs(stack: &Stack, found: &mut Found<'_>) {
    let known: BTreeSet<&str> = stack.names().map(|name| name.get_ref().as_str()).collect();
    for owner in stack.names() {
        for need in stack.needs(owner.get_ref()) {
            if !known.contains(need.get_ref().as_str()) {
                let hint = hint(need.get_ref(), known.iter().copied());
                found.at(
                    need,
                    format!("unknown entry \"{need}\" in needs of {owner}; {hint}"),
                );
            }
        }
    }
    for (name, Job { service, .. }) in &stack.jobs {
        if !stack.services.contains_key(service.get_ref().as_str()) {
            let services = stack.services.keys().map(|name| name.get_ref().as_str());
            let hint = hint(service.get_ref(), services);
            found.at(
                service,
                format!("unknown service \"{service}\" in job {name}; {hint}"),
            );
        }
    }
}

/// Returns the known name that is the most similar to a text, or else all known names.
fn hint<'a>(text: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let distance = |name: &str| strsim::levenshtein(text, name);
    match known.clone().min_by_key(|name| distance(name)) {
        Some(name) if distance(name) <= 2 => format!("did you mean \"{name}\"?"),
        _ => format!("known names: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Reports each cycle once, at the need that closes it.
fn cycles(stack: &Stack, found: &mut Found<'_>) {
    let mut done = BTreeSet::new();
    for name in stack.names() {
        walk(stack, name.get_ref(), &mut Vec::new(), &mut done, found);
    }
}

fn walk<'a>(
    stack: &'a Stack,
    name: &'a str,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
    found: &mut Found<'_>,
) {
    if done.contains(name) {
        return;
    }
    path.push(name);
    for need in stack.needs(name) {
        let needed = need.get_ref().as_str();
        match path.iter().position(|step| *step == needed) {
            Some(start) => {
                let cycle = [&path[start..], &[needed]].concat().join(" → ");
                found.at(need, format!("dependency cycle: {cycle}"));
            }
            None => walk(stack, needed, path, done, found),
        }
    }
    path.pop();
    done.insert(name);
}

fn ports(stack: &Stack, found: &mut Found<'_>) {
    let mut hosts: BTreeMap<u16, String> = BTreeMap::new();
    let mut containers: BTreeMap<(&str, u16), &str> = BTreeMap::new();
    let mut in_order: Vec<_> = stack.ports().collect();
    in_order.sort_by_key(|(_, _, port)| port.host.span().start);
    for (owner, name, port) in in_order {
        let this = format!("{owner}.{name}");
        for (side, number) in [("container", &port.container), ("host", &port.host)] {
            if *number.get_ref() == 0 {
                found.at(
                    number,
                    format!("{this}: invalid {side} port 0; expected 1 to 65535"),
                );
            }
        }
        if let Some(other) = hosts.get(port.host.get_ref()) {
            let message = format!("{this}: host port {} is already used by {other}", port.host);
            found.at(&port.host, message);
        } else {
            hosts.insert(*port.host.get_ref(), this.clone());
        }
        if let Some(other) = containers.insert((owner, *port.container.get_ref()), name) {
            let message = format!(
                "{this}: container port {} is already used by {owner}.{other}",
                port.container
            );
            found.at(&port.container, message);
        }
    }
}

fn files(stack: &Stack, found: &mut Found<'_>) {
    let build = stack.build.iter().map(|build| ("build", &build.dockerfile));
    let mut files: Vec<(&str, &Spanned<PathBuf>)> = build.collect();
    files.extend(
        stack
            .crds
            .iter()
            .map(|(name, crd)| (name.get_ref().as_str(), &crd.manifest)),
    );
    files.extend(
        stack
            .components
            .iter()
            .map(|(name, entry)| (name.get_ref().as_str(), &entry.manifest)),
    );
    files.extend(
        stack
            .jobs
            .iter()
            .map(|(name, job)| (name.get_ref().as_str(), &job.manifest)),
    );
    for (name, service) in &stack.services {
        for file in [&service.dockerfile, &service.config, &service.manifest] {
            files.push((name.get_ref().as_str(), file));
        }
    }
    for (owner, file) in files {
        if !stack.path(file).is_file() {
            let path = file.get_ref().display();
            let message = format!("{owner}: no file {path} in {}", stack.folder.display());
            found.at(file, message);
        }
    }
}

fn build(stack: &Stack, found: &mut Found<'_>) {
    let Some(build) = &stack.build else {
        if let Some(service) = stack.services.keys().next() {
            let message = format!("{service}: images of services need a [build] table, see docs/stack.md");
            found.at(service, message);
        }
        return;
    };
    let glibc = &build.glibc;
    if crate::elf::parse_version(glibc.get_ref()).is_none() {
        found.at(
            glibc,
            format!("invalid glibc version \"{glibc}\"; expected one like \"2.34\""),
        );
    }
}

fn test(stack: &Stack, found: &mut Found<'_>) {
    let test = stack.test.get_ref();
    let problem = match (&test.package, test.command.as_slice()) {
        (Some(_), [_, ..]) => "`package` and `command` exclude each other; remove one",
        (None, []) => "add `package` (of this workspace) or `command` (any program)",
        _ => return,
    };
    found.at(&stack.test, format!("test: {problem}"));
}
