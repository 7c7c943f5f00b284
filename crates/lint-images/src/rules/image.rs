//! Rules about one image: what it is judged as, and what to write instead.

use std::borrow::Cow;

use dockerfile::ImageReference;

use super::tags::{describe, fits, out_of_bounds, wanted_tag};
use crate::model::{Edit, File, Finding, NoImage, Role, Rule, Text, Use};
use crate::policy::{DigestRule, ImagePattern, Policy, RoleRule, list};

/// Judges the images of a file.
pub(crate) fn check(file: &mut File, policy: &Policy) {
    for (number, each) in file.uses.iter().enumerate() {
        judge(each, number, policy, &mut file.findings);
    }
}

fn judge(each: &Use, number: usize, policy: &Policy, findings: &mut Vec<Finding>) {
    let image = match &each.image {
        Ok(image) => image,
        Err(reason) => return findings.push(no_image(each, reason, policy)),
    };
    let judge = Judge {
        each,
        written: image,
        image: policy.unmirrored(image),
        policy,
    };
    let before = findings.len();
    match each.role {
        Role::Workload => judge.workload(findings),
        Role::Build | Role::Runtime => judge.stage(findings),
    }
    for finding in &mut findings[before..] {
        finding.about = Some(number);
    }
}

fn no_image(each: &Use, reason: &NoImage, policy: &Policy) -> Finding {
    let (rule, message, help) = match reason {
        NoImage::Unresolved(reason) => (
            Rule::Unresolved,
            format!("which image {:?} is can't be known: {reason}", each.raw),
            "give the variable a default that is the approved image, or its value under [build-arguments] of the policy",
        ),
        NoImage::Illegal(reason) => (
            Rule::Reference,
            format!(
                "{:?} is no image reference: {reason}",
                each.expanded.as_deref().unwrap_or(&each.raw)
            ),
            "write HOST/PATH:TAG in lower case, as in registry.access.redhat.com/ubi9/ubi-minimal:latest",
        ),
    };
    Finding::new(rule, policy, each.place.clone(), message)
        .help(help)
        .help(policy.see(rule))
}

/// One image with what it is judged by.
pub(super) struct Judge<'a> {
    pub(super) each: &'a Use,
    /// As it is written.
    pub(super) written: &'a ImageReference,
    /// With declared mirrors undone.
    pub(super) image: Cow<'a, ImageReference>,
    pub(super) policy: &'a Policy,
}

impl Judge<'_> {
    pub(super) fn finding(&self, rule: Rule, message: String) -> Finding {
        Finding::new(rule, self.policy, self.each.place.clone(), message)
    }

    fn workload(&self, findings: &mut Vec<Finding>) {
        let Some(workload) = self.policy.workload(&self.image) else {
            let message = format!("{} may not be run: the policy does not name it", self.image);
            let allowed: Vec<_> = self
                .policy
                .workloads
                .iter()
                .flat_map(|each| &each.patterns)
                .collect();
            let finding = self
                .finding(Rule::Workload, message)
                .help(list("allowed workloads", allowed))
                .help("use one of these, or add it under [[workloads]] with the reason")
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
                    "{} is not an approved image, though its registry ({}) is",
                    self.image.repository(),
                    registry.tier
                );
                findings.push(self.not_approved(message));
            }
        }
    }

    fn not_approved(&self, message: String) -> Finding {
        let instead = self.instead();
        self.finding(Rule::ApprovedImage, message)
            .help(self.policy.allowed_images(self.each.role))
            .help(suggestion(instead.as_deref()))
            .help(self.policy.see(Rule::ApprovedImage))
            .edit(instead.and_then(|text| self.edit(text, false)))
    }

    /// The tag, digest and version of an approved image.
    fn tag(&self, rule: &RoleRule, id: Rule, findings: &mut Vec<Finding>) {
        let tag = self.image.tag();
        if !fits(rule.tag, tag) {
            let wanted = wanted_tag(rule, tag).or_else(|| rule.pin.clone());
            let found = match tag {
                Some(tag) => format!("the tag {tag:?}"),
                None if self.image.digest().is_some() => "a digest without a tag".to_owned(),
                None => "no tag (which means latest)".to_owned(),
            };
            let message = format!("{found} is not {}", describe(rule));
            findings.push(self.tag_finding(id, message, wanted, rule));
        } else if let Some(message) = tag.and_then(|tag| out_of_bounds(rule, tag)) {
            findings.push(self.tag_finding(Rule::Bounds, message, rule.pin.clone(), rule));
        }
        findings.extend(self.digest(rule, id));
    }

    fn digest(&self, rule: &RoleRule, id: Rule) -> Option<Finding> {
        let (message, help) = match (rule.digest, self.image.digest()) {
            (DigestRule::Required, None) => (
                format!("{} has no digest: the policy asks for one", self.image),
                "write @sha256:… behind the tag (podman image inspect --format {{.Digest}} IMAGE)",
            ),
            (DigestRule::Forbidden, Some(_)) => (
                format!("{} has a digest: the policy asks for the tag alone", self.image),
                "take the digest away",
            ),
            _ => return None,
        };
        Some(self.finding(id, message).help(help).help(self.policy.see(id)))
    }

    fn tag_finding(&self, id: Rule, message: String, wanted: Option<String>, rule: &RoleRule) -> Finding {
        let edited = wanted.map(|tag| {
            let digest = self
                .written
                .digest()
                .map(|digest| format!("@{digest}"))
                .unwrap_or_default();
            // The name as it is written, so that a fix of the tag changes nothing else.
            let name = self.shown().split('@').next().unwrap_or_default();
            let name = name.strip_suffix(
                &self
                    .written
                    .tag()
                    .map(|tag| format!(":{tag}"))
                    .unwrap_or_default(),
            );
            format!("{}:{tag}{digest}", name.unwrap_or_default())
        });
        let finding = self
            .finding(id, message)
            .help(format!("allowed: {}", describe(rule)));
        let finding = match &edited {
            Some(text) => finding.help(format!("edit: write {text}")),
            None => finding.help("edit: write the version that the stage needs"),
        };
        let edit = edited.and_then(|text| self.edit(text, true));
        finding.help(self.policy.see(id)).edit(edit)
    }

    /// The reference as the build sees it.
    pub(super) fn shown(&self) -> &str {
        self.each.expanded.as_deref().unwrap_or(&self.each.raw)
    }

    /// The approved image of the same path, with the tag that its rule asks: what a short name was meant to be.
    /// Several registries may have it; the policy's order says which comes first.
    pub(super) fn full_name(&self) -> Option<String> {
        let (role, path) = (self.each.role, self.written.path());
        let (rule, pattern) = self.policy.images.iter().find_map(|approved| {
            let rule = approved.roles.get(&role)?;
            let same = |pattern: &&ImagePattern| pattern.is_one_image() && pattern.path() == path;
            Some((rule, approved.patterns.iter().find(same)?))
        })?;
        let tag = self.written.tag();
        let tag = match fits(rule.tag, tag) {
            true => tag.map(str::to_owned),
            false => wanted_tag(rule, tag)
                .or_else(|| rule.pin.clone())
                .or_else(|| tag.map(str::to_owned)),
        };
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self
            .written
            .digest()
            .map(|digest| format!("@{digest}"))
            .unwrap_or_default();
        Some(format!("{}{tag}{digest}", pattern.text()))
    }

    /// The approved image to use instead, with the tag that its rule asks.
    pub(super) fn instead(&self) -> Option<String> {
        let role = self.each.role;
        let entry = self.policy.images.iter().find(|each| {
            each.roles.contains_key(&role) && each.replaces.iter().any(|pattern| pattern.matches(&self.image))
        })?;
        let pattern = entry.patterns.iter().find(|pattern| pattern.is_one_image())?;
        let rule = entry.roles.get(&role)?;
        let tag = wanted_tag(rule, self.image.tag()).or_else(|| rule.pin.clone());
        let mut text = pattern.text();
        for part in tag.iter().flat_map(|tag| [":", tag]) {
            text.push_str(part);
        }
        Some(text)
    }

    pub(super) fn edit(&self, text: String, certain: bool) -> Option<Edit> {
        self.each.literal.then(|| Edit {
            span: self.each.place.span.clone(),
            text,
            certain,
        })
    }
}

/// What to write: the image that a reference was meant to be, where one is known.
pub(super) fn suggestion(instead: Option<&str>) -> Text {
    match instead {
        Some(image) => ["edit: write ", image].concat().into(),
        None => "edit: use one of these images, or ask for an exception in the exceptions file".into(),
    }
}
