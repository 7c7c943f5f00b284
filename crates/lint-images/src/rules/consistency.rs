//! Rules about files together: one digest for a base, one Dockerfile for a service, no Dockerfile that nothing uses.

use std::collections::BTreeMap;

use crate::model::{File, Finding, Place, Rule};
use crate::policy::Policy;

/// Judges all files of a tree.
pub(crate) fn check(files: &mut [File], policy: &Policy) {
    digests(files, policy);
    dockerfiles(files, policy);
}

/// A base with one tag and two digests is two bases that look like one.
fn digests(files: &mut [File], policy: &Policy) {
    let mut seen: BTreeMap<String, (String, String)> = BTreeMap::new();
    for file in files.iter_mut() {
        let mut found = Vec::new();
        for (number, each) in file.uses.iter().enumerate() {
            let Ok(image) = &each.image else { continue };
            let Some(digest) = image.digest() else { continue };
            let name = format!("{}:{}", image.repository(), image.tag().unwrap_or("latest"));
            let here = format!("{}:{}", file.path, each.place.line);
            match seen.get(&name) {
                Some((other, at)) if other != digest => {
                    let message = format!("{name} has another digest here than in {at}");
                    let finding = Finding::new(Rule::Consistency, policy, each.place.clone(), message)
                        .help(format!("there: {other}"))
                        .help(format!("here:  {digest}"))
                        .help(format!(
                            "write one digest in both; see {}",
                            policy.citation(Rule::Consistency)
                        ));
                    found.push(finding.about(number));
                }
                Some(_) => {}
                None => drop(seen.insert(name, (digest.to_owned(), here))),
            }
        }
        file.findings.extend(found);
    }
}

/// What stack files name must exist once, and each Dockerfile must be named by one.
fn dockerfiles(files: &mut [File], policy: &Policy) {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut by_entry: BTreeMap<(String, String), String> = BTreeMap::new();
    let known: Vec<String> = files
        .iter()
        .filter(|file| file.is_dockerfile)
        .map(|file| file.path.clone())
        .collect();
    let mut has_stack = false;
    for file in files.iter_mut() {
        has_stack |= !file.dockerfiles.is_empty();
        let mut found = Vec::new();
        for (entry, path, place) in &file.dockerfiles {
            let path = beside(&file.path, path);
            if !known.contains(&path) {
                let message = format!("{entry} is built from {path}, which does not exist");
                found.push(Finding::new(Rule::Consistency, policy, place.clone(), message));
            }
            if let Some(other) = by_entry.insert((file.path.clone(), entry.clone()), path.clone())
                && other != path
            {
                let message = format!("{entry} is built from two Dockerfiles: {other} and {path}");
                found.push(Finding::new(Rule::Consistency, policy, place.clone(), message));
            }
            named.entry(path).or_default().push(entry.clone());
        }
        file.findings.extend(found);
    }
    // Without a stack file there is nothing that could name them.
    if !has_stack {
        return;
    }
    for file in files
        .iter_mut()
        .filter(|file| file.is_dockerfile && !named.contains_key(&file.path))
    {
        let message = "no stack entry uses this Dockerfile".to_owned();
        let place = Place {
            line: 1,
            column: 1,
            span: 0..0,
        };
        let finding = Finding::new(Rule::Consistency, policy, place, message)
            .help("remove it, name it in the stack file, or exclude it under [files] of the policy")
            .help(policy.see(Rule::Consistency));
        file.findings.push(finding);
    }
}

/// A path that is relative to a file's folder, from the root.
fn beside(file: &str, path: &str) -> String {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
