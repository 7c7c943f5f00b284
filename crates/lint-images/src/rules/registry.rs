//! An image from a registry that is not approved: why it may look right, and what to write.

use super::image::{Judge, suggestion};
use crate::model::{Finding, Rule};

impl Judge<'_> {
    /// The image comes from somewhere else: why it may look right, what is allowed, what to write.
    pub(super) fn wrong_registry(&self) -> Finding {
        let domain = self.written.domain();
        let declared = self.undeclared_mirror();
        let short = self.is_short();
        // What a host looks like costs the most to find out, so only where nothing else is the matter.
        let plain = declared.is_none() && !short;
        let look_alike = plain.then(|| self.look_alike()).flatten();
        let (rule, message) = match (declared, short, look_alike) {
            (Some(of), ..) => (Rule::Mirror, format!("{domain} is no declared mirror of {of}")),
            (_, true, _) => (
                Rule::Registry,
                format!(
                    "{:?} is a short name and means {}: {domain} is not an approved registry",
                    self.shown(),
                    self.written
                ),
            ),
            (_, _, Some(of)) => (
                Rule::Registry,
                format!("{domain} is not {of}, it only looks like it"),
            ),
            _ => match self
                .policy
                .registries
                .iter()
                .find(|each| each.domain.eq_ignore_ascii_case(domain))
            {
                Some(registry) => (
                    Rule::Registry,
                    format!(
                        "{} is not of an approved organisation of {domain} ({})",
                        self.written.repository(),
                        registry.organisations.join(", ")
                    ),
                ),
                None => (Rule::Registry, format!("{domain} is not an approved registry")),
            },
        };
        let exact = self.full_name().filter(|_| rule == Rule::Registry && short);
        let certain = exact.is_some();
        let instead = exact.or_else(|| self.instead());
        let suggestion = suggestion(instead.as_deref());
        let edit = instead.and_then(|text| self.edit(text, certain));
        let mut finding = self.finding(rule, message).help(self.policy.allowed_registries());
        if rule == Rule::Mirror {
            finding = finding.help("declare it under [[mirrors]] of the policy, if it is one");
        }
        finding
            .help(self.policy.allowed_images(self.each.role))
            .help(suggestion)
            .help(self.policy.see(rule))
            .edit(edit)
    }

    /// Written without a registry.
    fn is_short(&self) -> bool {
        let (shown, domain) = (self.shown(), self.written.domain());
        let start = shown.as_bytes().get(..domain.len());
        !start.is_some_and(|start| start.eq_ignore_ascii_case(domain.as_bytes()))
            && !shown.starts_with("index.docker.io/")
    }

    /// `mirror.example/registry.access.redhat.com/ubi9/ubi`: the approved registry that the path begins with.
    fn undeclared_mirror(&self) -> Option<&str> {
        let first = self.written.path().split('/').next()?;
        self.policy
            .registries
            .iter()
            .map(|each| each.domain.as_str())
            .find(|domain| *domain == first)
    }

    /// The approved registry that a host is made to look like.
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

/// Whether one host is within two edits of another: what a slip or a trick makes of it.
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
