//! Authentication, authorization and rate limit.

use std::fs;
use std::sync::Arc;

use embedded::Kubernetes;
use serde_json::{Value, json};

use crate::stack::{EVENTS, Servers, Service, event, name, until};

/// A Kubernetes API with two tokens, of which one may write and both may read.
fn kubernetes(folder: &tempfile::TempDir) -> Kubernetes {
    let tokens = folder.path().join("tokens.csv");
    fs::write(&tokens, "writer-token,writer,1\nreader-token,reader,2\n").unwrap();
    let kubernetes = Kubernetes::builder()
        .argument("--token-auth-file")
        .argument(tokens.to_str().unwrap())
        .start()
        .expect("the Kubernetes API starts");
    let rights = "/apis/rbac.authorization.k8s.io/v1/namespaces/audit";
    create(
        &kubernetes,
        "/api/v1/namespaces",
        &json!({"metadata": {"name": "audit"}}),
    );
    for (user, verbs) in [("writer", json!(["get", "create"])), ("reader", json!(["get"]))] {
        let role = json!({"metadata": {"name": user}, "rules": [
            {"apiGroups": [""], "resources": ["services"], "resourceNames": ["datastorage"], "verbs": verbs}]});
        create(&kubernetes, &format!("{rights}/roles"), &role);
        let binding = json!({"metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]});
        create(&kubernetes, &format!("{rights}/rolebindings"), &binding);
    }
    kubernetes
}

fn create(kubernetes: &Kubernetes, path: &str, object: &Value) {
    let answer = ureq::post(&format!("{}{path}", kubernetes.url()))
        .header("content-type", "application/json")
        .send(object.to_string())
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(answer.status(), 201);
}

#[test]
fn clients_are_authenticated_and_authorized_by_their_token() {
    let folder = tempfile::tempdir().unwrap();
    let kubernetes = kubernetes(&folder);
    let more = format!(
        "[auth]\nmode = 'kubernetes'\nkubeconfig = '{}'\nnamespace = 'audit'\ncache_ttl_ms = 1000\n",
        kubernetes.kubeconfig().display()
    );
    let service = Service::start_with(Arc::new(Servers::shared()), &more);
    let correlation = name("auth");
    let sent = event(&correlation);
    let send = |method: &str, path: &str, body: Option<&Value>, token: &str| {
        service.send(
            method,
            path,
            body,
            &[("authorization", &format!("Bearer {token}"))],
        )
    };
    let without = service.write(&sent);
    assert_eq!(
        (without.status, without.challenge.as_deref()),
        (401, Some("Bearer"))
    );
    let invalid = send("POST", EVENTS, Some(&sent), "made-up");
    let challenge = Some("Bearer error=\"invalid_token\"");
    assert_eq!((invalid.status, invalid.challenge.as_deref()), (401, challenge));
    let rejected = send("POST", EVENTS, Some(&sent), "reader-token");
    assert_eq!(rejected.status, 403);
    assert!(
        rejected.text.contains("reader may not create"),
        "{}",
        rejected.text
    );
    assert_eq!(send("POST", EVENTS, Some(&sent), "writer-token").status, 201);
    let verify = json!({"correlation_id": correlation});
    assert_eq!(
        send(
            "POST",
            "/api/v1/audit/verify-chain",
            Some(&verify),
            "reader-token"
        )
        .status,
        200
    );
    let hold = json!({"correlation_id": correlation, "reason": "x"});
    assert_eq!(
        send("POST", "/api/v1/audit/legal-hold", Some(&hold), "writer-token").status,
        403
    );
    let read = send(
        "GET",
        &format!("{EVENTS}?correlation_id={correlation}"),
        None,
        "reader-token",
    )
    .json();
    assert_eq!(
        (&read["pagination"]["total"], &read["data"][0]["actor_id"]),
        (&json!(1), &json!("writer"))
    );
    // Health and metrics need no token.
    assert_eq!(service.get("/openapi.json").status, 200);

    // Without reviews no client is let in, once the cached verdict has expired.
    kubernetes.stop().unwrap();
    until("503", 60, || {
        let answer = send("GET", EVENTS, None, "reader-token");
        if answer.status == 503 {
            Ok(())
        } else {
            Err(answer.status.to_string())
        }
    });
    kubernetes.restart().unwrap();
    assert!(!service.log().contains("writer-token"), "a token is in the log");
}

#[test]
fn rate_limit_returns_429_with_retry_after() {
    let more = "[rate_limit]\nrequests_per_second = 1\nburst = 5\n";
    let service = Service::start_with(Arc::new(Servers::shared()), more);
    let answers: Vec<_> = (0..12)
        .map(|_| service.get(&format!("{EVENTS}?limit=1")))
        .collect();
    assert!(answers[..5].iter().all(|answer| answer.status == 200));
    let rejected = answers
        .iter()
        .find(|answer| answer.status == 429)
        .expect("a request over the limit");
    assert_eq!(rejected.retry_after.as_deref(), Some("1"));
    assert_eq!(service.readyz().0, 200, "health is not limited");
}
