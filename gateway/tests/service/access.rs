//! Authentication, authorization, cross-origin requests, and owners as fingerprints.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::stack::{Answer, Gateway, Stack, alert, answer, until, webhook};

async fn make<K>(stack: &Stack, namespace: &str, object: Value) -> K
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(stack.client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .unwrap()
}

async fn alert_with(stack: &Stack, gateway: &Gateway, token: Option<&str>) -> Answer {
    let request = stack
        .http
        .post(gateway.url("/api/v1/signals/prometheus"))
        .json(&webhook(&[alert("A")]));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    answer(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_accounts_with_the_role_may_send() {
    let tokens = "good-token,sender,1\nother-token,nobody,2\n";
    let stack = Stack::start_with_tokens(tokens).await;
    let rule = json!({ "apiGroups": [""], "resources": ["services"], "resourceNames": ["gateway-service"], "verbs": ["create"] });
    let role = json!({ "metadata": { "name": "sender" }, "rules": [rule] });
    make::<Role>(&stack, "kubernaut-system", role).await;
    let binding = json!({
        "metadata": { "name": "sender" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "sender" },
        "subjects": [{ "kind": "User", "name": "sender", "apiGroup": "rbac.authorization.k8s.io" }],
    });
    make::<RoleBinding>(&stack, "kubernaut-system", binding).await;

    let gateway = stack
        .gateway("a", "[auth]\nmode = \"kubernetes\"\ncache_ttl_ms = 200\n")
        .await;
    for (token, challenge) in [
        (None, "Bearer"),
        (Some("made-up"), "Bearer error=\"invalid_token\""),
    ] {
        let rejected = alert_with(&stack, &gateway, token).await;
        assert_eq!(rejected.status, 401);
        assert_eq!(rejected.headers["www-authenticate"], challenge);
        assert!(!rejected.body.to_string().contains("made-up"));
    }
    assert_eq!(
        alert_with(&stack, &gateway, Some("other-token")).await.status,
        403
    );
    assert_eq!(alert_with(&stack, &gateway, Some("good-token")).await.status, 201);
    assert_eq!(alert_with(&stack, &gateway, Some("good-token")).await.status, 202);

    let bindings: Api<RoleBinding> = Api::namespaced(stack.client.clone(), "kubernaut-system");
    bindings.delete("sender", &DeleteParams::default()).await.unwrap();
    until("the role to be deleted", async || {
        alert_with(&stack, &gateway, Some("good-token")).await.status == 403
    })
    .await;
    assert!(!gateway.log().contains("good-token"), "a token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_deployment_are_one_incident_by_owner() {
    let stack = Stack::start().await;
    let owner = |kind: &str, name: &str, uid: Option<String>| json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true }]);
    let selector = json!({ "matchLabels": { "app": "p" } });
    let template = json!({
        "metadata": { "labels": { "app": "p" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let deployment = json!({ "metadata": { "name": "payment-api" }, "spec": { "selector": selector, "template": template } });
    let deployment: Deployment = make(&stack, "shop", deployment).await;
    let set = json!({
        "metadata": { "name": "payment-api-1", "ownerReferences": owner("Deployment", "payment-api", deployment.metadata.uid) },
        "spec": { "selector": selector, "template": template },
    });
    let set: ReplicaSet = make(&stack, "shop", set).await;
    for name in ["payment-api-1-a", "payment-api-1-b"] {
        let pod = json!({
            "metadata": { "name": name, "ownerReferences": owner("ReplicaSet", "payment-api-1", set.metadata.uid.clone()) },
            "spec": { "containers": [{ "name": "c", "image": "i" }] },
        });
        make::<Pod>(&stack, "shop", pod).await;
    }
    let gateway = stack
        .gateway("a", "[deduplication]\nfingerprint = \"owner\"\n")
        .await;
    let send = async |alertname: &str, label: &str, object: &str| {
        let mut alert = alert(alertname);
        alert["labels"].as_object_mut().unwrap().remove("pod");
        alert["labels"][label] = json!(object);
        gateway.webhook(&webhook(&[alert])).await
    };
    let first = send("CrashLoop", "pod", "payment-api-1-a").await;
    assert_eq!(first.status, 201);
    for (name, label, object) in [
        ("CrashLoop", "pod", "payment-api-1-b"),
        ("Other", "deployment", "payment-api"),
    ] {
        let next = send(name, label, object).await;
        assert_eq!(next.status, 202, "{object}");
        assert_eq!(next.body["fingerprint"], first.body["fingerprint"]);
    }
    assert_eq!(send("CrashLoop", "pod", "not-there").await.status, 201);
    assert_eq!(send("CrashLoop", "pod", "../../../namespaces").await.status, 201);
    // The target remains the signal's own.
    let requests = stack.requests("shop").await;
    let request = requests
        .iter()
        .find(|request| request.occurrence_count() == 3)
        .unwrap();
    assert_eq!(request.spec.target_resource.name, "payment-api-1-a");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_origins_are_allowed_only_where_configured() {
    let stack = Stack::start().await;
    let closed = stack.gateway("closed", "").await;
    let open = stack
        .gateway("open", "[http]\ncors_origins = [\"https://console.example\"]\n")
        .await;
    let allowed = |answer: &Answer| {
        answer
            .headers
            .get("access-control-allow-origin")
            .map(|origin| origin.to_str().unwrap().to_owned())
    };
    let preflight = async |gateway: &Gateway, origin: &str| {
        let url = gateway.url("/api/v1/signals/prometheus");
        let request = stack
            .http
            .request(reqwest::Method::OPTIONS, url)
            .header("origin", origin);
        let request = request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        answer(request).await.unwrap()
    };
    let post = async |gateway: &Gateway, origin: &str| {
        let request = stack
            .http
            .post(gateway.url("/api/v1/signals/prometheus"))
            .header("origin", origin);
        answer(request.json(&webhook(&[]))).await.unwrap()
    };
    let ours = "https://console.example";
    let answer = preflight(&closed, ours).await;
    assert_eq!((answer.status, allowed(&answer)), (405, None));
    assert_eq!(allowed(&post(&closed, ours).await), None);

    let answer = preflight(&open, ours).await;
    assert_eq!((answer.status, allowed(&answer).as_deref()), (200, Some(ours)));
    assert_eq!(answer.headers["access-control-allow-methods"], "POST");
    assert!(answer.headers.contains_key("x-request-id") && answer.headers.contains_key("x-frame-options"));
    let answer = post(&open, ours).await;
    assert_eq!((answer.status, allowed(&answer).as_deref()), (400, Some(ours)));
    for stranger in ["https://console.example.evil", "http://console.example", "null"] {
        assert_eq!(allowed(&preflight(&open, stranger).await), None, "{stranger}");
        assert_eq!(allowed(&post(&open, stranger).await), None, "{stranger}");
    }
}
