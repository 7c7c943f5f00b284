//! Routes of the API.

use percent_encoding::percent_decode_str;

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Objects.
    Resource(ResourcePath),
    /// `/api`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`: the segments below `/apis`.
    Legacy,
    /// The list of groups.
    Groups,
    /// One group.
    Group(String),
    /// One version of a group.
    Version(String, String),
    /// `/openapi/v3` with the rest of the path.
    OpenApi(String),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/version`.
    ServerVersion,
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// `/metrics`.
    Metrics,
    /// `/faults` with the id.
    Faults(Option<String>),
    /// `/compact`.
    Compact,
    /// `/`.
    Root,
    /// Anything else.
    Unknown,
}

/// The objects of a path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ResourcePath {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) plural: String,
    pub(super) name: String,
    pub(super) subresource: String,
    /// The deprecated form `/watch/` of a watch.
    pub(super) watch: bool,
}

pub(super) fn route(path: &str) -> Route {
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [] => Route::Root,
        ["api"] => Route::Legacy,
        ["apis"] => Route::Groups,
        ["api", version] => Route::Version(String::new(), (*version).into()),
        ["apis", group] => Route::Group((*group).into()),
        ["apis", group, version] => Route::Version((*group).into(), (*version).into()),
        ["api", version, rest @ ..] => resource_path("", version, rest),
        ["apis", group, version, rest @ ..] => resource_path(group, version, rest),
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3", rest @ ..] => Route::OpenApi(rest.join("/")),
        ["version"] => Route::ServerVersion,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["metrics"] => Route::Metrics,
        ["faults"] => Route::Faults(None),
        ["faults", id] => Route::Faults(Some((*id).into())),
        ["compact"] => Route::Compact,
        _ => Route::Unknown,
    }
}

fn resource_path(group: &str, version: &str, rest: &[&str]) -> Route {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut target = ResourcePath {
        group: group.into(),
        version: version.into(),
        watch,
        ..ResourcePath::default()
    };
    let rest = match rest {
        // `/namespaces/NAME` is a namespace, and `/namespaces/NAME/status` and `finalize` its subresources.
        ["namespaces", namespace, plural, rest @ ..]
            if !(rest.is_empty() && matches!(*plural, "status" | "finalize")) =>
        {
            target.namespace = (*namespace).into();
            target.plural = (*plural).into();
            rest
        }
        [plural, rest @ ..] => {
            target.plural = (*plural).into();
            rest
        }
        [] => return Route::Unknown,
    };
    if let [name, rest @ ..] = rest {
        target.name = (*name).into();
        target.subresource = rest.join("/");
    }
    Route::Resource(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_a_namespace_from_its_contents() {
        let Route::Resource(target) = route("/api/v1/namespaces/a%2Db/pods/p/log") else {
            panic!("no resource")
        };
        assert_eq!(
            (
                target.namespace.as_str(),
                target.plural.as_str(),
                target.subresource.as_str()
            ),
            ("a-b", "pods", "log")
        );
        let Route::Resource(target) = route("/api/v1/namespaces/a/finalize") else {
            panic!("no resource")
        };
        assert_eq!(
            (
                target.plural.as_str(),
                target.name.as_str(),
                target.subresource.as_str()
            ),
            ("namespaces", "a", "finalize")
        );
        let Route::Resource(target) = route("/apis/apps/v1/deployments") else {
            panic!("no resource")
        };
        assert_eq!(
            (
                target.group.as_str(),
                target.plural.as_str(),
                target.name.as_str()
            ),
            ("apps", "deployments", "")
        );
    }
}
