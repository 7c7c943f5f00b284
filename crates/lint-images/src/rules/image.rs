//! Rules about one image: its registry, its name, its tag.

use dockerfile::ImageReference;

use crate::model::{Edit, File, Finding, NoImage, Role, Rule, Use};
use crate::policy::{DigestRule, ImagePattern, Policy, RoleRule, TagRule, Version, list};

/// Judges the images of a file.
pub(crate) fn check(file: &mut File, policy: &Policy) {
    let judged = file.uses.iter().enumerate();
    let findings: Vec<Finding> = judged
        .flat_map(|(number, each)| judge(each, number, policy))
        .collect();
    file.findings.extend(findings);
}

fn judge(each: &Use, number: usize, policy: &Policy) -> Vec<Finding> {
    let image = match &each.image {
        Ok(image) => image,
        Err(reason) => return vec![no_image(each, reason, policy)],
    };
    let judge = Judge {
        each,
        written: image,
        image: policy.unmirrored(image),
        policy,
    };
    let findings = match each.role {
        Role::Workload => judge.workload(),
        Role::Build | Role::Runtime => judge.stage(),
    };
    findings
        .into_iter()
        .map(|finding| finding.about(number))
        .collect()
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

struct Judge<'a> {
    each: &'a Use,
    /// As it is written.
    written: &'a ImageReference,
    /// With declared mirrors undone.
    image: ImageReference,
    policy: &'a Policy,
}

impl Judge<'_> {
    fn finding(&self, rule: Rule, message: String) -> Finding {
        Finding::new(rule, self.policy, self.each.place.clone(), message)
    }

    fn workload(&self) -> Vec<Finding> {
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
            return vec![finding];
        };
        self.tag(&workload.rule, Rule::Workload)
    }

    fn stage(&self) -> Vec<Finding> {
        let Some(registry) = self.policy.registry_of(&self.image) else {
            return vec![self.wrong_registry()];
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
            ),
            Some(None) => {
                let message = format!(
                    "{} is not approved for {} stages",
                    self.image.repository(),
                    role.name()
                );
                vec![self.not_approved(message)]
            }
            None => {
                let message = format!(
                    "{} is not an approved image, though its registry ({}) is",
                    self.image.repository(),
                    registry.tier
                );
                vec![self.not_approved(message)]
            }
        }
    }

    fn not_approved(&self, message: String) -> Finding {
        self.finding(Rule::ApprovedImage, message)
            .help(self.policy.allowed_images(self.each.role))
            .help(self.suggestion())
            .help(self.policy.see(Rule::ApprovedImage))
            .edit(self.replacement(false))
    }

    /// The image comes from somewhere else: why it may look right, what is allowed, what to write.
    fn wrong_registry(&self) -> Finding {
        let domain = self.written.domain();
        let declared = self.undeclared_mirror();
        let short = self.is_short();
        let (rule, message) = match (declared, short, self.look_alike()) {
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
        let edit = match &exact {
            Some(text) => self.edit(text.clone(), true),
            None => self.replacement(false),
        };
        let suggestion = match &exact {
            Some(text) => format!("edit: write {text}"),
            None => self.suggestion(),
        };
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

    fn shown(&self) -> &str {
        self.each.expanded.as_deref().unwrap_or(&self.each.raw)
    }

    /// Written without a registry.
    fn is_short(&self) -> bool {
        !self
            .shown()
            .to_ascii_lowercase()
            .starts_with(&self.written.domain().to_ascii_lowercase())
            && !self.shown().starts_with("index.docker.io/")
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

    /// The approved image of the same path, with the tag that its rule asks: what a short name was meant to be.
    /// Several registries may have it; the policy's order says which comes first.
    fn full_name(&self) -> Option<String> {
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
    fn instead(&self) -> Option<String> {
        let role = self.each.role;
        let entry = self.policy.images.iter().find(|each| {
            each.roles.contains_key(&role) && each.replaces.iter().any(|pattern| pattern.matches(&self.image))
        })?;
        let pattern = entry.patterns.iter().find(|pattern| pattern.is_one_image())?;
        let rule = entry.roles.get(&role)?;
        let tag = wanted_tag(rule, self.image.tag()).or_else(|| rule.pin.clone());
        Some(format!(
            "{}{}",
            pattern.text(),
            tag.map(|tag| format!(":{tag}")).unwrap_or_default()
        ))
    }

    fn suggestion(&self) -> String {
        match self.instead() {
            Some(image) => format!("edit: write {image}"),
            None => {
                "edit: use one of these images, or ask for an exception in the exceptions file".to_owned()
            }
        }
    }

    fn replacement(&self, certain: bool) -> Option<Edit> {
        self.edit(self.instead()?, certain)
    }

    fn edit(&self, text: String, certain: bool) -> Option<Edit> {
        self.each.literal.then(|| Edit {
            span: self.each.place.span.clone(),
            text,
            certain,
        })
    }

    /// The tag, digest and version of an approved image.
    fn tag(&self, rule: &RoleRule, id: Rule) -> Vec<Finding> {
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

fn fits(rule: TagRule, tag: Option<&str>) -> bool {
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
fn wanted_tag(rule: &RoleRule, tag: Option<&str>) -> Option<String> {
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
