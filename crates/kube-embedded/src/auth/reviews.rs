//! Reviews: TokenReview, SubjectAccessReview and the related kinds.

use serde_json::{Value, json};

use super::rbac::{self, Attributes};
use super::{Auth, User, tokens};
use crate::object::{strings, text};
use crate::resources::names::quoted;
use crate::status::{Cause, Status};
use crate::store::Store;

/// Evaluates a created review: returns the object with its status.
///
/// # Errors
/// 400, 422, and 501 for an unknown kind.
pub fn evaluate(
    auth: &Auth,
    store: &Store,
    asking: &User,
    kind: &str,
    namespace: &str,
    mut review: Value,
) -> Result<Value, Status> {
    review["metadata"] = json!({"creationTimestamp": null});
    let status = match kind {
        "TokenReview" => token_review(auth, store, &review)?,
        "SubjectAccessReview" => access(store, &subject(&review), &review)?,
        "LocalSubjectAccessReview" => {
            let of_resource = text(&review, "/spec/resourceAttributes/namespace");
            if of_resource != namespace {
                let field = "spec.resourceAttributes.namespace";
                let cause = Cause::invalid(field, &quoted(of_resource), "must match metadata.namespace");
                return Err(Status::invalid("authorization.k8s.io", "", "", vec![cause]));
            }
            review["metadata"]["namespace"] = namespace.into();
            access(store, &subject(&review), &review)?
        }
        "SelfSubjectAccessReview" => access(store, asking, &review)?,
        "SelfSubjectReview" => {
            review["metadata"]["creationTimestamp"] = crate::object::now().into();
            json!({"userInfo": user_info(asking)})
        }
        "SelfSubjectRulesReview" => rules(store, asking, text(&review, "/spec/namespace"))?,
        other => return Err(Status::not_implemented(other)),
    };
    review["status"] = status;
    Ok(review)
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn token_review(auth: &Auth, store: &Store, review: &Value) -> Result<Value, Status> {
    let token = text(review, "/spec/token");
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let requested: Vec<String> = strings(review.pointer("/spec/audiences"))
        .into_iter()
        .map(ToOwned::to_owned)
        .collect();
    let audiences = if requested.is_empty() {
        vec![tokens::AUDIENCE.to_owned()]
    } else {
        requested
    };
    Ok(match auth.user_of(store, token, &audiences) {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user_info(&user), "audiences": audiences})
        }
        Err(error) => json!({"user": {}, "error": error}),
    })
}

fn subject(review: &Value) -> User {
    let groups = strings(review.pointer("/spec/groups"))
        .into_iter()
        .map(ToOwned::to_owned)
        .collect();
    User {
        name: text(review, "/spec/user").into(),
        uid: text(review, "/spec/uid").into(),
        groups,
        ..User::default()
    }
}

fn access(store: &Store, user: &User, review: &Value) -> Result<Value, Status> {
    let spec = &review["spec"];
    let invalid = |cause| Err(Status::invalid("authorization.k8s.io", "", "", vec![cause]));
    if user.name.is_empty() && user.groups.is_empty() {
        let detail = "at least one of user or group must be specified";
        return invalid(Cause::invalid("spec.user", "\"\"", detail));
    }
    let at = |pointer: &str| text(spec, pointer).to_owned();
    let wanted = match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(Value::Object(_)), None) => Attributes {
            verb: at("/resourceAttributes/verb"),
            group: at("/resourceAttributes/group"),
            resource: at("/resourceAttributes/resource"),
            subresource: at("/resourceAttributes/subresource"),
            namespace: at("/resourceAttributes/namespace"),
            name: at("/resourceAttributes/name"),
            path: None,
        },
        (None, Some(Value::Object(_))) => Attributes {
            verb: at("/nonResourceAttributes/verb"),
            path: Some(at("/nonResourceAttributes/path")),
            ..Attributes::default()
        },
        _ => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            return invalid(Cause::invalid("spec.resourceAttributes", "\"null\"", detail));
        }
    };
    let decision = rbac::authorize(store, user, &wanted);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    Ok(status)
}

fn rules(store: &Store, user: &User, namespace: &str) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (mut of_resources, mut of_paths) = (Vec::new(), Vec::new());
    let everything = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    if user.groups.iter().any(|group| group == "system:masters") {
        of_resources.push(everything);
        of_paths.push(json!({"nonResourceURLs": ["*"], "verbs": ["*"]}));
    }
    rbac::for_each_rule(store, user, namespace, &mut |rule, _| {
        if rule.get("nonResourceURLs").is_some() {
            of_paths.push(rule.clone())
        } else {
            of_resources.push(rule.clone())
        }
        false
    });
    Ok(json!({"resourceRules": of_resources, "nonResourceRules": of_paths, "incomplete": false}))
}
