//! Exceptions: from their file, and from comments where the policy allows it.

use crate::date::Date;
use crate::model::{File, Finding, Rule, Use};
use crate::policy::Policy;

/// Takes away the findings that are excepted. An expired exception takes nothing away and fails; one that nothing
/// needed is a warning, where the whole tree was read.
pub(crate) fn apply(files: &mut Vec<File>, policy: &Policy, today: Date, whole_tree: bool) {
    let mut used = vec![false; policy.exceptions.list.len()];
    for file in files.iter_mut() {
        let File {
            path, uses, findings, ..
        } = file;
        if !policy.exceptions.list.is_empty() {
            findings.retain(|finding| !is_excepted(finding, path, uses, policy, today, &mut used));
        }
        from_comments(file, policy);
    }
    let own = about_exceptions(policy, today, whole_tree, &used);
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

fn is_excepted(
    finding: &Finding,
    path: &str,
    uses: &[Use],
    policy: &Policy,
    today: Date,
    used: &mut [bool],
) -> bool {
    let Some(Ok(image)) = finding
        .about
        .and_then(|number| uses.get(number))
        .map(|each| &each.image)
    else {
        return false;
    };
    let mut excepted = false;
    for (exception, used) in policy.exceptions.list.iter().zip(used) {
        if exception.covers(finding.rule) && exception.image.matches(image) && exception.files.is_match(path)
        {
            *used = true;
            excepted |= exception.review >= today;
        }
    }
    excepted
}

fn about_exceptions(policy: &Policy, today: Date, whole_tree: bool, used: &[bool]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (exception, used) in policy.exceptions.list.iter().zip(used) {
        let crate::policy::Exception {
            image,
            where_text,
            service,
            approved_by,
            date,
            review,
            ..
        } = exception;
        if *review < today {
            let message = format!("the exception for {image} expired: its review was due on {review}");
            findings.push(
                Finding::new(Rule::Exception, policy, exception.review_place.clone(), message)
                    .help(format!(
                        "{approved_by} gave it on {date} for {service}: ask again, or remove its need"
                    ))
                    .help(policy.see(Rule::Exception)),
            );
        } else if whole_tree && !used {
            let message = format!("nothing in {where_text} needs the exception for {image}");
            findings.push(
                Finding::new(Rule::Exception, policy, exception.place.clone(), message)
                    .help("remove it: what is allowed without need is used without thought")
                    .help(policy.see(Rule::Exception))
                    .warning(),
            );
        }
    }
    findings
}

/// `# lint-images: allow RULE: reason` takes away findings of a rule on the line it is about.
fn from_comments(file: &mut File, policy: &Policy) {
    for allowance in std::mem::take(&mut file.allowances) {
        let complaint = match Rule::from_id(&allowance.rule) {
            None => Some(format!("there is no rule {:?} to except", allowance.rule)),
            Some(rule) if !policy.inline.contains(&rule) => Some(format!(
                "the policy does not allow to except {rule} within a file"
            )),
            Some(_) if allowance.reason.is_empty() => {
                Some("an exception within a file needs a reason".to_owned())
            }
            Some(rule) => {
                let before = file.findings.len();
                file.findings
                    .retain(|finding| finding.rule != rule || finding.place.line != allowance.target);
                (before == file.findings.len())
                    .then(|| format!("nothing here needs the exception from {rule}"))
            }
        };
        let Some(message) = complaint else { continue };
        let inline: Vec<_> = policy.inline.iter().map(|rule| rule.id()).collect();
        let allowed = if inline.is_empty() {
            "none".to_owned()
        } else {
            inline.join(", ")
        };
        let finding = Finding::new(Rule::Exception, policy, allowance.place.clone(), message.clone())
            .help("write # lint-images: allow RULE: reason above the line that it is about")
            .help(format!(
                "rules that a file may except: {allowed}; see {}",
                policy.citation(Rule::Exception)
            ));
        file.findings.push(if message.starts_with("nothing") {
            finding.warning()
        } else {
            finding
        });
    }
}
