//! Rules across files: one digest per base image, one Dockerfile per service, no unused Dockerfile.

use std::collections::BTreeMap;

use crate::model::{File, Finding, Location, Rule};
use crate::policy::Policy;
use crate::sources::beside;

/// Checks all files of a tree.
pub(crate) fn check(files: &mut [File], policy: &Policy) {
    digests(files, policy);
    dockerfiles(files, policy);
}

/// Reports images that have one tag and several digests.
fn digests(files: &mut [File], policy: &Policy) {
    let mut seen: BTreeMap<String, (String, String)> = BTreeMap::new();
    for file in files.iter_mut() {
        let mut found = Vec::new();
        for (index, each) in file.uses.iter().enumerate() {
            let Ok(image) = &each.image else { continue };
            let Some(digest) = image.digest() else { continue };
            // Digests without a tag are of different versions.
            let Some(tag) = image.tag() else { continue };
            let name = format!("{}:{tag}", image.repository());
            let here = format!("{}:{}", file.path, each.location.line);
            match seen.get(&name) {
                Some((other, at)) if other != digest => {
                    let message = format!("{name} has a different digest than in {at}");
                    let finding = Finding::new(Rule::Consistency, policy, each.location.clone(), message)
                        .help(format!("there: {other}"))
                        .help(format!("here:  {digest}"))
                        .help(format!(
                            "write the same digest in both; see {}",
                            policy.citation(Rule::Consistency)
                        ));
                    found.push(finding.of_use(index));
                }
                Some(_) => {}
                None => drop(seen.insert(name, (digest.to_owned(), here))),
            }
        }
        file.findings.extend(found);
    }
}

/// Reports missing Dockerfiles, several Dockerfiles of one entry, and unused ones.
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
        for (entry, path, location) in &file.dockerfiles {
            let path = beside(&file.path, path);
            if !known.contains(&path) {
                let message = format!("Dockerfile {path} of {entry} does not exist");
                found.push(Finding::new(Rule::Consistency, policy, location.clone(), message));
            }
            if let Some(other) = by_entry.insert((file.path.clone(), entry.clone()), path.clone())
                && other != path
            {
                let message = format!("{entry} has two Dockerfiles: {other} and {path}");
                found.push(Finding::new(Rule::Consistency, policy, location.clone(), message));
            }
            named.entry(path).or_default().push(entry.clone());
        }
        file.findings.extend(found);
    }
    // Without a stack file, every Dockerfile would be unused.
    if !has_stack {
        return;
    }
    for file in files
        .iter_mut()
        .filter(|file| file.is_dockerfile && !named.contains_key(&file.path))
    {
        let message = "no stack entry uses this Dockerfile".to_owned();
        let location = Location {
            line: 1,
            column: 1,
            span: 0..0,
        };
        let finding = Finding::new(Rule::Consistency, policy, location, message)
            .help("remove it, refer to it in the stack file, or exclude it under [files] of the policy")
            .help(policy.see(Rule::Consistency));
        file.findings.push(finding);
    }
}
