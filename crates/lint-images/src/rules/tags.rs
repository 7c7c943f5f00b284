//! Form and bounds of tags.

use crate::policy::{DigestRule, RoleRule, TagRule, Version};

/// Returns whether a tag has the form that a rule requires.
pub(super) fn has_form(rule: TagRule, tag: Option<&str>) -> bool {
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

/// Returns the tag that a rule derives from a tag, if there is exactly one.
pub(super) fn derived_tag(rule: &RoleRule, tag: Option<&str>) -> Option<String> {
    let version = tag.and_then(Version::leading).map(|(version, _)| version);
    let derived = match rule.tag {
        TagRule::Latest => Some("latest".to_owned()),
        TagRule::Minor => version.as_ref().and_then(Version::minor),
        TagRule::Major => version.as_ref().map(|version| version.numbers()[0].to_string()),
        TagRule::Any => tag.map(str::to_owned),
        TagRule::Patch => None,
    };
    derived.filter(|tag| out_of_bounds(rule, tag).is_none())
}

/// Returns the message for a version outside a rule's bounds.
pub(super) fn out_of_bounds(rule: &RoleRule, tag: &str) -> Option<String> {
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

/// Describes a tag rule for messages.
pub(crate) fn describe(rule: &RoleRule) -> String {
    let tag = match rule.tag {
        TagRule::Any => "any tag",
        TagRule::Latest => "the tag latest, written explicitly",
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
