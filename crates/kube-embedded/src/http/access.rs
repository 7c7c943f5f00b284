//! Authentication and authorization of HTTP requests.

use super::request::Request;
use super::route::ResourcePath;
use crate::api::Api;
use crate::auth::User;
use crate::auth::rbac::{self, Attributes};
use crate::status::{About, Status};

/// Applies `Impersonate-User` and related headers for users with the right to impersonate.
pub(super) fn impersonated(api: &Api, request: &Request, user: User) -> Result<User, Status> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let Some(name) = header("impersonate-user") else {
        return Ok(user);
    };
    let groups = request
        .headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut groups: Vec<String> = groups.map(ToOwned::to_owned).collect();
    let subjects =
        std::iter::once(("users", name)).chain(groups.iter().map(|group| ("groups", group.as_str())));
    for (resource, name) in subjects {
        let wanted = Attributes {
            verb: "impersonate".into(),
            resource: resource.into(),
            name: name.into(),
            ..Attributes::default()
        };
        if !rbac::authorize(&api.store, &user, &wanted).allowed {
            let why = format!(
                "User \"{}\" cannot impersonate resource \"{resource}\" in API group \"\" at the cluster scope",
                user.name
            );
            return Err(Status::forbidden(
                About {
                    group: "",
                    plural: resource,
                    kind: "",
                },
                name,
                &why,
            ));
        }
    }
    if let Some(rest) = name.strip_prefix("system:serviceaccount:")
        && let Some((namespace, account)) = rest.split_once(':')
    {
        return Ok(User::service_account(namespace, account, ""));
    }
    groups.push("system:authenticated".into());
    Ok(User {
        name: name.to_owned(),
        groups,
        ..User::default()
    })
}

/// Checks access to a non-resource path.
pub(super) fn authorize_path(api: &Api, user: &User, request: &Request) -> Result<(), Status> {
    let wanted = Attributes {
        verb: request.method.as_str().to_lowercase(),
        path: Some(request.path.clone()),
        ..Attributes::default()
    };
    if rbac::authorize(&api.store, user, &wanted).allowed {
        return Ok(());
    }
    let message = format!(
        "forbidden: User \"{}\" cannot {} path \"{}\"",
        user.name, wanted.verb, request.path
    );
    Err(Status {
        details: Some(Box::default()),
        ..Status::plain(403, "Forbidden", message)
    })
}

/// Checks access to a resource.
pub(super) fn authorize_resource(
    api: &Api,
    user: &User,
    verb: &str,
    target: &ResourcePath,
) -> Result<(), Status> {
    let wanted = Attributes {
        verb: verb.into(),
        group: target.group.clone(),
        resource: target.plural.clone(),
        subresource: target.subresource.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        path: None,
    };
    if rbac::authorize(&api.store, user, &wanted).allowed {
        return Ok(());
    }
    let place_name = match wanted.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let resource = if wanted.subresource.is_empty() {
        wanted.resource.clone()
    } else {
        format!("{}/{}", wanted.resource, wanted.subresource)
    };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{}\" {place_name}",
        user.name, wanted.group
    );
    Err(Status::forbidden(
        About {
            group: &wanted.group,
            plural: &wanted.resource,
            kind: "",
        },
        &wanted.name,
        &why,
    ))
}
