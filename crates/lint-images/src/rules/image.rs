//! Rules about one image, and the replacements that they suggest.

use std::borrow::Cow;

use dockerfile::ImageReference;

use super::tags::{Suggested, derived_or_pin, describe, has_form, out_of_bounds, tag_of_replacement};
use crate::model::{Edit, File, Finding, ImageError, Role, Rule, Text, Use};
use crate::policy::{DigestRule, ImagePattern, Policy, RoleRule, list};

/// Checks the images of a file.
pub(crate) fn check(file: &mut File, policy: &Policy) {
    for (index, each) in file.uses.iter().enumerate() {
        check_use(each, index, policy, &mut file.findings);
    }
}

fn check_use(each: &Use, index: usize, policy: &Policy, findings: &mut Vec<Finding>) {
    let image = match &each.image {
        Ok(image) => image,
        Err(reason) => return findings.extend(image_error(each, index, reason, policy)),
    };
    let check = ImageCheck {
        each,
        written: image,
        image: policy.unmirrored(image),
        policy,
    };
    let before = findings.len();
    match each.role {
        Role::Workload => check.workload(findings),
        Role::Build | Role::Runtime => check.stage(findings),
    }
    for finding in &mut findings[before..] {
        finding.use_index = Some(index);
        for (name, line) in &each.variables {
            finding.help.push(format!("{name} is set in line {line}").into());
        }
    }
}

fn image_error(each: &Use, index: usize, reason: &ImageError, policy: &Policy) -> Option<Finding> {
    let (rule, message, help) = match reason {
        // The file is skipped.
        ImageError::Template => return None,
        ImageError::Unresolved(reason) => (
            Rule::Unresolved,
            format!("cannot resolve image {:?}: {reason}", each.raw),
            match each.role {
                Role::Workload => {
                    "set the variable in .env beside the file, or under [build-arguments] of the policy"
                }
                _ => {
                    "give the variable an approved image as default, or set it under [build-arguments] of the policy"
                }
            },
        ),
        ImageError::Invalid(reason) => (
            Rule::Reference,
            format!(
                "invalid image reference {:?}: {reason}",
                each.expanded.as_deref().unwrap_or(&each.raw)
            ),
            "write HOST/PATH:TAG, with the path in lower case",
        ),
    };
    let finding = Finding::new(rule, policy, each.location.clone(), message);
    Some(finding.help(help).help(policy.see(rule)).of_use(index))
}

/// Image with the context of its check.
pub(super) struct ImageCheck<'a> {
    pub(super) each: &'a Use,
    /// Image as written.
    pub(super) written: &'a ImageReference,
    /// Original of the image, if it is from a declared mirror.
    pub(super) image: Cow<'a, ImageReference>,
    pub(super) policy: &'a Policy,
}

impl ImageCheck<'_> {
    pub(super) fn finding(&self, rule: Rule, message: String) -> Finding {
        Finding::new(rule, self.policy, self.each.location.clone(), message)
    }

    fn workload(&self, findings: &mut Vec<Finding>) {
        let Some(workload) = self.policy.workload(&self.image) else {
            let message = format!("{} is not an approved workload", self.image);
            let allowed: Vec<_> = self
                .policy
                .workloads
                .iter()
                .flat_map(|each| &each.patterns)
                .collect();
            let finding = self
                .finding(Rule::Workload, message)
                .help(list("allowed workloads", allowed, &self.image))
                .help("use one of these, or add the image under [[workloads]] with a reason")
                .help(self.policy.see(Rule::Workload));
            return findings.push(finding);
        };
        self.tag(&workload.rule, Rule::Workload, findings);
    }

    fn stage(&self, findings: &mut Vec<Finding>) {
        let Some(registry) = self.policy.registry_of(&self.image) else {
            return findings.push(self.wrong_registry());
        };
        let role = self.each.role;
        let rule = self
            .policy
            .approved(&self.image)
            .map(|approved| approved.roles.get(&role));
        match rule {
            Some(Some(rule)) => self.tag(
                rule,
                if role == Role::Build {
                    Rule::BuildTag
                } else {
                    Rule::RuntimeTag
                },
                findings,
            ),
            Some(None) => {
                let message = format!(
                    "{} is not approved for {} stages",
                    self.image.repository(),
                    role.name()
                );
                findings.push(self.not_approved(message));
            }
            None => {
                let message = format!(
                    "{} is not an approved image, although its registry ({}) is approved",
                    self.image.repository(),
                    registry.tier
                );
                findings.push(self.not_approved(message));
            }
        }
    }

    fn not_approved(&self, message: String) -> Finding {
        let replacement = self.replacement();
        self.finding(Rule::ApprovedImage, message)
            .help(self.policy.allowed_images(self.each.role, &self.image))
            .help(suggestion(replacement.as_deref()))
            .help(self.policy.see(Rule::ApprovedImage))
            .edit(replacement.and_then(|text| self.edit(text, false)))
    }

    /// Checks tag, digest and version of an approved image.
    fn tag(&self, rule: &RoleRule, id: Rule, findings: &mut Vec<Finding>) {
        let tag = self.image.tag();
        if !has_form(rule, tag) {
            let found = match (tag, self.each.tag_set_by) {
                (Some(tag), _) => format!("tag {tag:?} is not allowed"),
                (None, _) if self.image.digest().is_some() => {
                    "a digest without a tag is not allowed".to_owned()
                }
                (None, Some(by)) => format!("the tag is not written here: {by}"),
                (None, None) => "missing tag (implies latest) is not allowed".to_owned(),
            };
            findings.push(self.tag_finding(id, found, derived_or_pin(rule, tag), rule));
        } else if let Some(message) = tag.and_then(|tag| out_of_bounds(rule, tag)) {
            let pin = rule.pin.clone().map(|tag| Suggested {
                tag,
                keeps_image: false,
            });
            findings.push(self.tag_finding(Rule::Bounds, message, pin, rule));
        }
        findings.extend(self.digest(rule, id));
    }

    fn digest(&self, rule: &RoleRule, id: Rule) -> Option<Finding> {
        let (message, help) = match (rule.digest, self.image.digest()) {
            (DigestRule::Required, None) => (
                format!("{} has no digest: the policy requires one", self.image),
                "append @sha256:… to the tag (podman image inspect --format {{.Digest}} IMAGE)",
            ),
            (DigestRule::Forbidden, Some(_)) => (
                format!("{} has a digest: the policy forbids digests", self.image),
                "remove the digest",
            ),
            _ => return None,
        };
        Some(self.finding(id, message).help(help).help(self.policy.see(id)))
    }

    fn tag_finding(&self, id: Rule, message: String, wanted: Option<Suggested>, rule: &RoleRule) -> Finding {
        let finding = self
            .finding(id, message)
            .help(format!("allowed: {}", describe(rule)));
        let Some(Suggested { tag, keeps_image }) = wanted else {
            return finding
                .help("edit: write the version that the stage needs")
                .help(self.policy.see(id));
        };
        // Keep the name as written, so that the edit changes only the tag.
        let name = self.shown().split('@').next().unwrap_or_default();
        let own_tag = self
            .written
            .tag()
            .map(|tag| format!(":{tag}"))
            .unwrap_or_default();
        let text = format!("{}:{tag}", name.strip_suffix(&own_tag).unwrap_or_default());
        let (help, edit) = match self.written.digest() {
            // The digest is of another image than the new tag, and it decides what is built.
            Some(_) => (format!("edit: write {text} with its own digest"), None),
            None if self.each.tag_set_by.is_some() => (format!("edit: set the tag {tag}"), None),
            None => (format!("edit: write {text}"), self.edit(text, keeps_image)),
        };
        finding.help(help).help(self.policy.see(id)).edit(edit)
    }

    /// Returns the reference with variables expanded, or as written.
    pub(super) fn shown(&self) -> &str {
        self.each.expanded.as_deref().unwrap_or(&self.each.raw)
    }

    /// Returns the approved image with the same path, and the tag that its rule requires: the full name of a short one.
    /// If several registries have it, the first in the policy counts.
    pub(super) fn full_name(&self) -> Option<String> {
        let (role, path) = (self.each.role, self.written.path());
        let (rule, pattern) = self.policy.images.iter().find_map(|approved| {
            let rule = approved.roles.get(&role)?;
            let same = |pattern: &&ImagePattern| pattern.matches_one() && pattern.path() == path;
            Some((rule, approved.patterns.iter().find(same)?))
        })?;
        let tag = self.written.tag();
        let tag = match has_form(rule, tag) {
            true => tag.map(str::to_owned),
            false => tag_of_replacement(rule, tag).or_else(|| tag.map(str::to_owned)),
        };
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self
            .written
            .digest()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        Some(format!("{}{tag}{digest}", pattern.text()))
    }

    /// Returns the approved image that replaces this one, with the tag that its rule requires.
    pub(super) fn replacement(&self) -> Option<String> {
        let role = self.each.role;
        let entry = self.policy.images.iter().find(|each| {
            each.roles.contains_key(&role) && each.replaces.iter().any(|pattern| pattern.matches(&self.image))
        })?;
        let pattern = entry.patterns.iter().find(|pattern| pattern.matches_one())?;
        let rule = entry.roles.get(&role)?;
        let tag = tag_of_replacement(rule, self.image.tag());
        let mut text = pattern.text();
        for part in tag.iter().flat_map(|tag| [":", tag]) {
            text.push_str(part);
        }
        Some(text)
    }

    pub(super) fn edit(&self, text: String, certain: bool) -> Option<Edit> {
        self.each.literal.then(|| Edit {
            span: self.each.location.span.clone(),
            text,
            certain,
        })
    }
}

/// Returns the help line for an edit.
pub(super) fn suggestion(replacement: Option<&str>) -> Text {
    match replacement {
        Some(image) => ["edit: write ", image].concat().into(),
        None => "edit: use one of these images, or request an exception".into(),
    }
}
