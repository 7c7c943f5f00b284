//! The tag, digest and version of an approved image.

use super::image::Judge;
use crate::model::{Finding, Rule};
use crate::policy::{DigestRule, RoleRule, TagRule, Version};

impl Judge<'_> {
    /// The tag, digest and version of an approved image.
    pub(super) fn tag(&self, rule: &RoleRule, id: Rule) -> Vec<Finding> {
        let mut findings = Vec::new();
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
        match (rule.digest, self.image.digest()) {
            (DigestRule::Required, None) => findings.push(
                self.finding(
                    id,
                    format!("{} has no digest: the policy asks for one", self.image),
                )
                .help("write @sha256:… behind the tag (podman image inspect --format {{.Digest}} IMAGE)")
                .help(self.policy.see(id)),
            ),
            (DigestRule::Forbidden, Some(_)) => findings.push(
                self.finding(
                    id,
                    format!("{} has a digest: the policy asks for the tag alone", self.image),
                )
                .help("take the digest away")
                .help(self.policy.see(id)),
            ),
            _ => {}
        }
        findings
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
}

/// Whether a tag is of the form that a rule asks.
pub(super) fn fits(rule: TagRule, tag: Option<&str>) -> bool {
    let version = tag.and_then(Version::leading);
    let plain = |count: usize| matches!(&version, Some((version, "")) if version.numbers().len() == count);
    match rule {
        TagRule::Any => true,
        TagRule::Latest => tag == Some("latest"),
        TagRule::Major => plain(1),
        TagRule::Minor => plain(2),
        TagRule::Patch => version.is_some_and(|(version, _)| version.numbers().len() >= 3),
    }
}

/// The tag that a rule makes of one, where there is one answer.
pub(super) fn wanted_tag(rule: &RoleRule, tag: Option<&str>) -> Option<String> {
    let version = tag.and_then(Version::leading).map(|(version, _)| version);
    let wanted = match rule.tag {
        TagRule::Latest => Some("latest".to_owned()),
        TagRule::Minor => version.as_ref().and_then(Version::minor),
        TagRule::Major => version.as_ref().map(|version| version.numbers()[0].to_string()),
        TagRule::Any => tag.map(str::to_owned),
        TagRule::Patch => None,
    };
    wanted.filter(|tag| out_of_bounds(rule, tag).is_none())
}

fn out_of_bounds(rule: &RoleRule, tag: &str) -> Option<String> {
    let (version, _) = Version::leading(tag)?;
    let low = rule.at_least.as_ref().is_some_and(|bound| version < *bound);
    let high = rule.below.as_ref().is_some_and(|bound| version >= *bound);
    (low || high).then(|| {
        format!(
            "version {version} is out of bounds: it must be {}",
            bounds(rule).unwrap_or_default()
        )
    })
}

fn bounds(rule: &RoleRule) -> Option<String> {
    match (&rule.at_least, &rule.below) {
        (Some(low), Some(high)) => Some(format!("at least {low} and below {high}")),
        (Some(low), None) => Some(format!("at least {low}")),
        (None, Some(high)) => Some(format!("below {high}")),
        (None, None) => None,
    }
}

/// What a rule asks of a tag, as messages say it.
pub(crate) fn describe(rule: &RoleRule) -> String {
    let tag = match rule.tag {
        TagRule::Any => "any tag",
        TagRule::Latest => "the tag latest, written out",
        TagRule::Major => "one number, the major version",
        TagRule::Minor => "two numbers, the minor version (neither latest nor a patch)",
        TagRule::Patch => "three numbers, the exact version",
    };
    let digest = match rule.digest {
        DigestRule::Allowed => "",
        DigestRule::Required => ", with a digest",
        DigestRule::Forbidden => ", without a digest",
    };
    let bounds = bounds(rule)
        .map(|bounds| format!(", {bounds}"))
        .unwrap_or_default();
    let pin = rule
        .pin
        .as_ref()
        .map(|pin| format!(", such as {pin}"))
        .unwrap_or_default();
    format!("{tag}{bounds}{pin}{digest}")
}
