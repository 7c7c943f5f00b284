//! Rules for names, with the messages of the real server.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use regex::Regex;
use serde_json::Value;

use crate::object;
use crate::status::Cause;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

/// The rule for the names of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// DNS label, 63.
    Label,
    /// DNS label that begins with a letter, 63.
    Dns1035,
    /// DNS subdomain, 253.
    Subdomain,
    /// Any path segment.
    PathSegment,
}

/// The rule for a resource's names.
#[must_use]
pub fn rule_of(group: &str, plural: &str) -> NameRule {
    match (group, plural) {
        ("", "namespaces") => NameRule::Label,
        ("", "services") => NameRule::Dns1035,
        ("rbac.authorization.k8s.io", _) => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

impl NameRule {
    /// The violations of a name.
    #[must_use]
    pub fn complaints(self, name: &str) -> Vec<String> {
        let (pattern, limit, message) = match self {
            Self::Label => (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", 63, LABEL),
            Self::Dns1035 => (r"^[a-z]([-a-z0-9]*[a-z0-9])?$", 63, DNS1035),
            Self::Subdomain => (
                r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
                253,
                SUBDOMAIN,
            ),
            Self::PathSegment => return path_segment(name),
        };
        let mut complaints = Vec::new();
        if name.len() > limit {
            complaints.push(format!("must be no more than {limit} bytes"));
        }
        if !is_match(pattern, name) {
            complaints.push(message.to_owned());
        }
        complaints
    }
}

fn path_segment(name: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if matches!(name, "." | "..") {
        complaints.push(format!("may not be '{name}'"));
    }
    for forbidden in ['/', '%'] {
        if name.contains(forbidden) {
            complaints.push(format!("may not contain '{forbidden}'"));
        }
    }
    complaints
}

/// Shared, not cloned: a clone would start with cold caches.
type Compiled = HashMap<&'static str, Option<Arc<Regex>>>;

fn is_match(pattern: &'static str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<Compiled>> = LazyLock::new(Mutex::default);
    let compile = || Regex::new(pattern).ok().map(Arc::new);
    let regex = COMPILED.lock().entry(pattern).or_insert_with(compile).clone();
    regex.is_some_and(|regex| regex.is_match(text))
}

/// All violations in an object's metadata.
#[must_use]
pub fn check_metadata(object: &Value, rule: NameRule) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = object::meta(object, "name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    }
    for complaint in rule.complaints(name).into_iter().filter(|_| !name.is_empty()) {
        causes.push(Cause::invalid("metadata.name", &quoted(name), &complaint));
    }
    for (key, value) in object::pairs(object.pointer("/metadata/labels")) {
        causes.extend(check_label("metadata.labels", key, value));
    }
    let mut size = 0;
    for (key, value) in object::pairs(object.pointer("/metadata/annotations")) {
        size += key.len() + value.len();
        let complaints = qualified_name(&key.to_lowercase()).into_iter();
        causes.extend(complaints.map(|what| Cause::invalid("metadata.annotations", &quoted(key), &what)));
    }
    if size > 256 * 1024 {
        causes.push(Cause::too_long("metadata.annotations", 256 * 1024));
    }
    for finalizer in object::finalizers(object) {
        let complaints = qualified_name(finalizer).into_iter();
        causes
            .extend(complaints.map(|what| Cause::invalid("metadata.finalizers", &quoted(finalizer), &what)));
    }
    causes.extend(check_owners(object));
    causes
}

fn check_owners(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for owner in object::items(object, "/metadata/ownerReferences") {
        for (field, what) in [
            ("apiVersion", "version"),
            ("kind", "kind"),
            ("name", "name"),
            ("uid", "uid"),
        ] {
            if object::text(owner, &format!("/{field}")).is_empty() {
                let path = format!("metadata.ownerReferences.{field}");
                causes.push(Cause::invalid(path, "\"\"", &format!("{what} must not be empty")));
            }
        }
    }
    causes
}

/// The violations of a label.
#[must_use]
pub fn check_label(field: &str, key: &str, value: &str) -> Vec<Cause> {
    let mut causes: Vec<Cause> = qualified_name(key)
        .into_iter()
        .map(|what| Cause::invalid(field, &quoted(key), &what))
        .collect();
    causes.extend(
        label_value(value)
            .into_iter()
            .map(|what| Cause::invalid(field, &quoted(value), &what)),
    );
    causes
}

/// The violations of a label value.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > 63 {
        complaints.push("must be no more than 63 bytes".to_owned());
    }
    if !is_match(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$", value) {
        complaints.push(LABEL_VALUE.to_owned());
    }
    complaints
}

/// The violations of a key of a label or annotation: `[prefix/]name`.
#[must_use]
pub fn qualified_name(key: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a valid label key must consist of an optional prefix and a name: {QUALIFIED}"
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                complaints.extend(
                    NameRule::Subdomain
                        .complaints(prefix)
                        .into_iter()
                        .map(|what| format!("prefix part {what}")),
                );
            }
            name
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        complaints.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_match(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$", name) {
        complaints.push(QUALIFIED.to_owned());
    }
    complaints
}

/// The violations of a key of a ConfigMap or Secret.
#[must_use]
pub fn config_key(field: &str, key: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let path = format!("{field}[{key}]");
    if key.len() > 253 {
        causes.push(Cause::invalid(
            &path,
            &quoted(key),
            "must be no more than 253 bytes",
        ));
    }
    if !is_match(r"^[-._a-zA-Z0-9]+$", key) {
        causes.push(Cause::invalid(&path, &quoted(key), CONFIG_KEY));
    } else if key == "." || key == ".." {
        causes.push(Cause::invalid(
            &path,
            &quoted(key),
            &format!("must not be '{key}'"),
        ));
    }
    causes
}

/// A quoted text, as Go's `%q`.
#[must_use]
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The suffix of a generated name: five letters and digits that cannot form words.
#[must_use]
pub fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())]))
        .collect()
}

/// Kubernetes' order of versions: v2, v1, v1beta1, v1alpha1, then others alphabetically.
#[must_use]
pub fn compare_versions(one: &str, other: &str) -> Ordering {
    match (parts(one), parts(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => other.cmp(one),
    }
}

/// Stability, major and minor number.
fn parts(version: &str) -> Option<(u8, u64, u64)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = rest[..end].parse().ok()?;
    match &rest[end..] {
        "" => Some((2, major, 0)),
        rest => {
            let (stability, minor) = if let Some(minor) = rest.strip_prefix("beta") {
                (1, minor)
            } else {
                (0, rest.strip_prefix("alpha")?)
            };
            Some((stability, major, minor.parse().ok()?))
        }
    }
}
