//! Exceptions: from the exceptions file, and from comments where the policy allows them.

use crate::date::Date;
use crate::model::{File, Finding, Rule, Use};
use crate::policy::Policy;

/// Removes excepted findings. An expired exception removes nothing and is an error; an unused one is a warning if the
/// whole tree was read.
pub(crate) fn apply(files: &mut Vec<File>, policy: &Policy, today: Date, whole_tree: bool) {
    let mut used = vec![false; policy.exceptions.list.len()];
    for file in files.iter_mut() {
        let File {
            path, uses, findings, ..
        } = file;
        if !policy.exceptions.list.is_empty() {
            findings.retain(|finding| !is_excepted(finding, path, uses, policy, today, &mut used));
        }
        apply_comments(file, policy);
    }
    if whole_tree {
        files.extend(unused_excludes(policy));
    }
    let own = invalid_exceptions(policy, today, whole_tree, &used);
    if !own.is_empty() {
        let file = File {
            path: policy.exceptions.path.clone(),
            text: policy.exceptions.text.clone(),
            findings: own,
            ..File::default()
        };
        files.push(file);
    }
}

/// Removes the findings of the baseline, and returns their number. If the whole tree was read, entries that no longer
/// occur are warnings.
pub(crate) fn apply_baseline(files: &mut Vec<File>, policy: &Policy, whole_tree: bool) -> usize {
    let (accepted, unused) = policy.baseline.apply(files);
    if !whole_tree || unused.is_empty() {
        return accepted;
    }
    let findings = unused.into_iter().map(|(location, entry)| {
        Finding::new(
            Rule::Exception,
            policy,
            location,
            format!("no longer occurs: {entry}"),
        )
        .help("remove the entry, or run --update-baseline")
        .warning()
    });
    files.push(File {
        path: policy.baseline.path.clone(),
        text: policy.baseline.text.clone(),
        findings: findings.collect(),
        ..File::default()
    });
    accepted
}

/// Returns the policy with a warning for each pattern under `[files]` that excludes nothing.
fn unused_excludes(policy: &Policy) -> Option<File> {
    let unused = policy.excluded.unused().filter_map(|(index, pattern)| {
        let location = policy.excluded_locations.get(index)?.clone();
        let finding = Finding::new(
            Rule::Exception,
            policy,
            location,
            format!("{pattern:?} excludes no file"),
        )
        .help("remove it, or correct it: patterns are those of .gitignore, relative to the repository root")
        .help(policy.see(Rule::Exception));
        Some(finding.warning())
    });
    let findings: Vec<Finding> = unused.collect();
    (!findings.is_empty()).then(|| File {
        path: policy.path.clone(),
        text: policy.text.clone(),
        findings,
        ..File::default()
    })
}

fn is_excepted(
    finding: &Finding,
    path: &str,
    uses: &[Use],
    policy: &Policy,
    today: Date,
    used: &mut [bool],
) -> bool {
    let Some(each) = finding.use_index.and_then(|index| uses.get(index)) else {
        return false;
    };
    let mut excepted = false;
    for (exception, used) in policy.exceptions.list.iter().zip(used) {
        if exception.covers(finding.rule) && exception.is_about(each) && exception.files.is_match(path) {
            *used = true;
            excepted |= exception.review >= today;
        }
    }
    excepted
}

fn invalid_exceptions(policy: &Policy, today: Date, whole_tree: bool, used: &[bool]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (exception, used) in policy.exceptions.list.iter().zip(used) {
        let crate::policy::Exception {
            subject: image,
            where_text,
            service,
            approved_by,
            date,
            review,
            ..
        } = exception;
        if *review < today {
            let message = format!("exception for {image} expired: its review was due on {review}");
            findings.push(
                Finding::new(Rule::Exception, policy, exception.review_location.clone(), message)
                    .help(format!(
                        "approved by {approved_by} on {date} for {service}: renew the approval, or use an approved image"
                    ))
                    .help(policy.see(Rule::Exception)),
            );
        } else if whole_tree && !used {
            let message = format!("unused exception for {image} in {where_text}");
            findings.push(
                Finding::new(Rule::Exception, policy, exception.location.clone(), message)
                    .help("remove it")
                    .help(policy.see(Rule::Exception))
                    .warning(),
            );
        }
    }
    findings
}

/// Removes findings that comments `# lint-images: allow RULE: reason` except, and reports invalid comments.
fn apply_comments(file: &mut File, policy: &Policy) {
    for allowance in std::mem::take(&mut file.allowances) {
        let (message, is_unused) = match Rule::from_id(&allowance.rule) {
            None => (
                format!("unknown rule {:?} in an exception", allowance.rule),
                false,
            ),
            Some(rule) if !policy.inline.contains(&rule) => (
                format!("the policy does not allow comments to except {rule}"),
                false,
            ),
            Some(_) if allowance.reason.is_empty() => {
                ("an exception in a comment needs a reason".to_owned(), false)
            }
            Some(rule) => {
                let before = file.findings.len();
                file.findings
                    .retain(|finding| finding.rule != rule || finding.location.line != allowance.target);
                if file.findings.len() < before {
                    continue;
                }
                (format!("unused exception from {rule}"), true)
            }
        };
        let inline: Vec<_> = policy.inline.iter().map(|rule| rule.id()).collect();
        let allowed = if inline.is_empty() {
            "none".to_owned()
        } else {
            inline.join(", ")
        };
        let finding = Finding::new(Rule::Exception, policy, allowance.location, message)
            .help("write # lint-images: allow RULE: reason above the line that it applies to")
            .help(format!(
                "rules that comments may except: {allowed}; see {}",
                policy.citation(Rule::Exception)
            ));
        file.findings
            .push(if is_unused { finding.warning() } else { finding });
    }
}
