//! Form and bounds of tags.

use crate::policy::{DigestRule, RoleRule, TagRule, Version};

/// Returns whether a tag has the form that a rule requires.
pub(super) fn has_form(rule: &RoleRule, tag: Option<&str>) -> bool {
    let version = tag.and_then(Version::leading);
    let is_plain = |count: usize| {
        version.as_ref().is_some_and(|(version, rest)| {
            version.numbers().len() == count && (rest.is_empty() || is_allowed(rule, rest))
        })
    };
    match rule.tag {
        TagRule::Any => true,
        TagRule::Latest => tag == Some("latest"),
        TagRule::Major => is_plain(1),
        TagRule::Minor => is_plain(2),
        TagRule::Patch => version.is_some_and(|(version, _)| version.numbers().len() >= 3),
    }
}

/// Returns whether the rest of a tag behind its version, such as `-alpine3.20`, is an allowed variant.
fn is_allowed(rule: &RoleRule, rest: &str) -> bool {
    let Some(variant) = rest.strip_prefix('-') else {
        return false;
    };
    rule.variants
        .iter()
        .any(|allowed| match allowed.strip_suffix('*') {
            Some(start) => variant.starts_with(start),
            None => variant == allowed,
        })
}

/// Tag that a rule suggests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suggested {
    pub(super) tag: String,
    /// The tag means the same image, or the same line of versions in the precision of the rule.
    pub(super) keeps_image: bool,
}

/// Returns the tag that a rule derives from a tag, if there is exactly one. A variant, such as another C library or
/// another user, is never dropped.
pub(super) fn derived_tag(rule: &RoleRule, tag: Option<&str>) -> Option<Suggested> {
    let Some(tag) = tag else {
        // No tag means `latest`.
        let tag = (rule.tag == TagRule::Latest).then(|| "latest".to_owned())?;
        return Some(Suggested {
            tag,
            keeps_image: true,
        });
    };
    if rule.tag == TagRule::Any {
        let tag = tag.to_owned();
        return Some(Suggested {
            tag,
            keeps_image: true,
        })
        .filter(|it| out_of_bounds(rule, &it.tag).is_none());
    }
    let (version, rest) = Version::leading(tag)?;
    // `-2` in `1.24.6-2` counts builds of one version; letters name a variant.
    let variant = if rest.contains(|next: char| next.is_ascii_alphabetic()) {
        rest
    } else {
        ""
    };
    if !(variant.is_empty() || is_allowed(rule, variant)) {
        return None;
    }
    let (derived, keeps_image) = match rule.tag {
        TagRule::Latest if variant.is_empty() => ("latest".to_owned(), false),
        TagRule::Minor => (version.minor()? + variant, true),
        TagRule::Major => (format!("{}{variant}", version.numbers()[0]), true),
        _ => return None,
    };
    out_of_bounds(rule, &derived).is_none().then_some(Suggested {
        tag: derived,
        keeps_image,
    })
}

/// Returns the tag that a rule derives from a tag, else its pin.
pub(super) fn derived_or_pin(rule: &RoleRule, tag: Option<&str>) -> Option<Suggested> {
    let pin = || {
        Some(Suggested {
            tag: rule.pin.clone()?,
            keeps_image: false,
        })
    };
    // The pin is another variant.
    let has_variant = tag
        .and_then(Version::leading)
        .is_some_and(|(_, rest)| rest.contains(char::is_alphabetic));
    derived_tag(rule, tag).or_else(|| if has_variant { None } else { pin() })
}

/// Returns the tag for another image that replaces one with this tag: the version counts, and its variants do not.
pub(super) fn tag_of_replacement(rule: &RoleRule, tag: Option<&str>) -> Option<String> {
    let version = tag
        .and_then(Version::leading)
        .map(|(version, _)| version.to_string());
    let tag = match rule.tag {
        TagRule::Latest => return Some("latest".to_owned()),
        TagRule::Any => tag,
        _ => version.as_deref(),
    };
    derived_or_pin(rule, tag).map(|suggested| suggested.tag)
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
    let variants = match rule.variants.as_slice() {
        [] => String::new(),
        variants => format!(", optionally with the variant {}", variants.join(" or ")),
    };
    format!("{tag}{variants}{bounds}{pin}{digest}")
}
