//! `--init`: writes an initial policy from the images that a repository uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use crate::date::Date;
use crate::model::{Level, Role};
use crate::output::text::printable;
use crate::policy::{self, Baseline, ImagePattern, Policy};
use crate::sources::{self, Inputs, Store};
use crate::{check, run};

/// Writes the policy, unless the repository has one.
pub(crate) fn run(root: &Path, path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let target = path.map_or_else(|| root.join(".image-policy.toml"), Path::to_path_buf);
    if let Some(existing) = Some(target.clone())
        .filter(|path| path.exists())
        .or_else(|| policy::find(&Store::WorkTree(root)))
    {
        subprocess::eprint_line(format!("a policy exists: {}", existing.display()));
        return Ok(ExitCode::from(2));
    }
    let text = starting_policy(root);
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write(&target, &text)?;
    let store = Store::WorkTree(root);
    let policy =
        policy::load(&target, &store).map_err(|error| anyhow::anyhow!("invalid policy written: {error}"))?;
    let report = check(Inputs::Tree(root), &policy, &store, Date::today(), true, false);
    run::print_skipped(&report, false);
    let errors = report.count(Level::Error);
    if let Some(baseline) = Baseline::of(&report.files) {
        let path = target.with_file_name(BASELINE);
        write(&path, &baseline)?;
        write(&target, &format!("{text}\n[baseline]\nfile = \"{BASELINE}\"\n"))?;
        subprocess::eprint_line(format!(
            "wrote {}: {errors} errors that no policy can allow, and unreadable files, are accepted for now",
            path.display()
        ));
    }
    subprocess::eprint_line(format!(
        "wrote {}: review it, remove images that are not to be allowed, and run lint-images",
        target.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Name of the baseline beside the policy.
const BASELINE: &str = ".image-baseline.toml";

/// Roles and locations by repository of an image.
type Found = BTreeMap<String, (BTreeSet<Role>, BTreeSet<String>)>;

fn starting_policy(root: &Path) -> String {
    let empty = Policy::default();
    let files = sources::read_all(Inputs::Tree(root), &empty, |input, buffer| {
        sources::read(input, &empty, &Store::WorkTree(root), buffer).0
    });
    let mut found = Found::new();
    for file in &files {
        for each in &file.uses {
            if let Ok(image) = &each.image
                && ImagePattern::parse(image.repository()).is_ok()
            {
                let entry = found.entry(image.repository().to_owned()).or_default();
                entry.0.insert(each.role);
                entry
                    .1
                    .insert(format!("{}:{}", printable(&file.path), each.location.line));
            }
        }
    }
    write_policy(&found)
}

fn write_policy(found: &Found) -> String {
    let mut out = String::from(HEAD);
    let registries: BTreeSet<&str> = found
        .iter()
        .filter(|(_, (roles, _))| roles.iter().any(|role| *role != Role::Workload))
        .filter_map(|(repository, _)| Some(repository.split_once('/')?.0))
        .collect();
    for registry in registries {
        // Writing to a String can't fail.
        let _ = write!(
            out,
            "\n[[registries]]\ntier = \"approved\"\nregistry = \"{registry}\"\n"
        );
    }
    for (repository, (roles, locations)) in found {
        let stages = roles
            .iter()
            .filter(|role| **role != Role::Workload)
            .collect::<Vec<_>>();
        if stages.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "\n{}[[images]]\nmatch = [\"{repository}\"]\n",
            comment(locations)
        );
        for role in stages {
            let _ = writeln!(out, "{} = {{ tag = \"any\" }}", role.name());
        }
    }
    for (repository, (_, locations)) in found
        .iter()
        .filter(|(_, (roles, _))| roles.contains(&Role::Workload))
    {
        let reason = "reason = \"in use when this policy was created\"";
        let _ = write!(
            out,
            "\n{}[[workloads]]\nmatch = [\"{repository}\"]\n{reason}\n",
            comment(locations)
        );
    }
    out
}

/// Returns a comment with the first locations of an image.
fn comment(locations: &BTreeSet<String>) -> String {
    let more = if locations.len() > 3 {
        format!(" and {} more", locations.len() - 3)
    } else {
        String::new()
    };
    let first: Vec<&str> = locations.iter().take(3).map(String::as_str).collect();
    format!("# {}{more}\n", first.join(", "))
}

const HEAD: &str = "\
# Images that this repository may build on and run. Created from the images in use: remove those that are not to be
# allowed. docs/lint-images.md of the linter documents the format; `lint-images --explain` lists the rules.
version = 1

[policy]
name = \"image policy\"

[levels]
hygiene = \"off\"
";
