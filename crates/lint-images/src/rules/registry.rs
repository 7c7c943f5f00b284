//! Images from registries that are not approved.

use super::image::{ImageCheck, suggestion};
use crate::model::{Finding, Rule};

impl ImageCheck<'_> {
    /// Returns the finding for an image from another registry, with look-alikes and undeclared mirrors named as such.
    pub(super) fn wrong_registry(&self) -> Finding {
        let domain = self.written.domain();
        let declared = self.undeclared_mirror();
        let short = self.is_short();
        // Comparing with every approved host is the most expensive check, so it comes last.
        let plain = declared.is_none() && !short;
        let look_alike = plain.then(|| self.look_alike()).flatten();
        let (rule, message) = match (declared, short, look_alike) {
            (Some(of), ..) => (Rule::Mirror, format!("{domain} is not a declared mirror of {of}")),
            (_, true, _) => (
                Rule::Registry,
                format!(
                    "short name {:?} means {}: {domain} is not an approved registry",
                    self.shown(),
                    self.written
                ),
            ),
            (_, _, Some(of)) => (Rule::Registry, format!("{domain} is not {of}, but looks like it")),
            _ => match self
                .policy
                .registries
                .iter()
                .find(|each| each.domain.eq_ignore_ascii_case(domain))
            {
                Some(registry) => (
                    Rule::Registry,
                    format!(
                        "{} does not belong to an approved organisation of {domain} ({})",
                        self.written.repository(),
                        registry.organisations.join(", ")
                    ),
                ),
                None => (Rule::Registry, format!("{domain} is not an approved registry")),
            },
        };
        let exact = self.full_name().filter(|_| rule == Rule::Registry && short);
        let replacement = exact.or_else(|| self.replacement());
        let suggestion = suggestion(replacement.as_deref());
        let edit = replacement.and_then(|text| self.edit(text, false));
        let mut finding = self.finding(rule, message).help(self.policy.allowed_registries());
        if rule == Rule::Mirror {
            finding = finding.help("if it is a mirror, declare it under [[mirrors]] of the policy");
        }
        finding
            .help(self.policy.allowed_images(self.each.role, &self.image))
            .help(suggestion)
            .help(self.policy.see(rule))
            .edit(edit)
    }

    /// Returns whether the reference is written without a registry.
    fn is_short(&self) -> bool {
        let (shown, domain) = (self.shown(), self.written.domain());
        let start = shown.as_bytes().get(..domain.len());
        !start.is_some_and(|start| start.eq_ignore_ascii_case(domain.as_bytes()))
            && !shown.starts_with("index.docker.io/")
    }

    /// Returns the approved registry in `mirror.example/registry.access.redhat.com/ubi9/ubi`.
    fn undeclared_mirror(&self) -> Option<&str> {
        let first = self.written.path().split('/').next()?;
        self.policy
            .registries
            .iter()
            .map(|each| each.domain.as_str())
            .find(|domain| *domain == first)
    }

    /// Returns the approved registry that a host resembles.
    fn look_alike(&self) -> Option<&str> {
        let host = self.written.domain().to_ascii_lowercase();
        let name = host.split(':').next().unwrap_or_default();
        self.policy
            .registries
            .iter()
            .map(|each| each.domain.as_str())
            .find(|approved| {
                !name.eq_ignore_ascii_case(approved)
                    && (name.contains(approved) || distance_is_small(name, approved))
                    || (name.eq_ignore_ascii_case(approved) && host != **approved)
                    || (name.contains("xn--") && name.rsplit('.').next() == approved.rsplit('.').next())
            })
    }
}

/// Returns whether the edit distance of two hosts is at most 2.
fn distance_is_small(left: &str, right: &str) -> bool {
    if left.len().abs_diff(right.len()) > 2 {
        return false;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, char) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = (diagonal + usize::from(char != *other))
                .min(above + 1)
                .min(row[column] + 1);
            diagonal = above;
        }
    }
    row[right.len()] <= 2
}
