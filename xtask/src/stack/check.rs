//! What must hold of a stack file beyond its shape: names, needs, ports, files.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use toml::Spanned;

use super::{Problem, Stack, position};

/// Everything that is wrong, in the order of the file.
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
    glibc(stack, &mut found);
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
    fn at<T>(&mut self, place: &Spanned<T>, message: String) {
        let (line, column) = position(self.text, place.span().start);
        self.problems.push(Problem {
            line,
            column,
            message,
        });
    }

    fn line_of<T>(&self, place: &Spanned<T>) -> usize {
        position(self.text, place.span().start).0
    }
}

/// Names that the plan of a run has anyway.
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
            let wanted = "lowercase letters, digits and '-', at most 40, starting with a letter";
            found.at(
                name,
                format!("the name \"{text}\" becomes a Kubernetes object's: it must be {wanted}"),
            );
        }
        if TASKS.contains(&text) {
            found.at(
                name,
                format!("the name \"{text}\" is a task's of every run; take another"),
            );
        }
        if let Some(first) = seen.insert(text, name) {
            let (earlier, later) = if first.span().start < name.span().start {
                (first, name)
            } else {
                (name, first)
            };
            let line = found.line_of(earlier);
            found.at(
                later,
                format!("\"{text}\" is already the name of the entry in line {line}"),
            );
        }
    }
    for (what, text) in [("name", &stack.stack.name), ("namespace", &stack.stack.namespace)] {
        if !is_dns_label(text) {
            let message = format!("[stack] {what} \"{text}\" must be lowercase letters, digits and '-'");
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
    let listed = || known.iter().copied().collect::<Vec<_>>().join(", ");
    for owner in stack.names() {
        for need in stack.needs(owner.get_ref()) {
            if !known.contains(need.get_ref().as_str()) {
                found.at(
                    need,
                    format!(
                        "{owner} needs \"{need}\", which is no entry here; there are: {}",
                        listed()
                    ),
                );
            }
        }
    }
    for (name, job) in &stack.jobs {
        if !stack.services.contains_key(job.service.get_ref().as_str()) {
            let services: Vec<_> = stack
                .services
                .keys()
                .map(|name| name.get_ref().as_str())
                .collect();
            let message = format!(
                "{name} runs the image of \"{}\", which is no service; there are: {}",
                job.service,
                services.join(", ")
            );
            found.at(&job.service, message);
        }
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
                let circle = [&path[start..], &[needed]].concat().join(" needs ");
                found.at(need, format!("a circle, so none could ever start: {circle}"));
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
                found.at(number, format!("{this}: the {side} port must be 1 to 65535"));
            }
        }
        if let Some(other) = hosts.get(port.host.get_ref()) {
            found.at(
                &port.host,
                format!("{this}: host port {} is already that of {other}", port.host),
            );
        } else {
            hosts.insert(*port.host.get_ref(), this.clone());
        }
        if let Some(other) = containers.insert((owner, *port.container.get_ref()), name) {
            let message = format!(
                "{this}: container port {} is already that of {owner}.{other}",
                port.container
            );
            found.at(&port.container, message);
        }
    }
}

fn files(stack: &Stack, found: &mut Found<'_>) {
    let mut files: Vec<(&str, &Spanned<PathBuf>)> = vec![("build", &stack.build.dockerfile)];
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
            found.at(
                file,
                format!(
                    "{owner}: the file {path} does not exist in {}",
                    stack.folder.display()
                ),
            );
        }
    }
}

fn glibc(stack: &Stack, found: &mut Found<'_>) {
    let glibc = &stack.build.glibc;
    if crate::elf::parse_version(glibc.get_ref()).is_none() {
        found.at(
            glibc,
            format!("glibc must be a version like \"2.34\", it is \"{glibc}\""),
        );
    }
}

fn test(stack: &Stack, found: &mut Found<'_>) {
    let test = stack.test.get_ref();
    let problem = match (&test.package, test.command.as_slice()) {
        (Some(_), [_, ..]) => "say either `package` or `command`, not both",
        (None, []) => "say what tests the stack: `package`, of this workspace, or `command`, any program",
        _ => return,
    };
    found.at(&stack.test, format!("test: {problem}"));
}
