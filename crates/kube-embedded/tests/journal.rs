//! A server with a journal loads its state after a restart; a last line that a kill truncated is dropped.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers, outside of the functions in which clippy.toml allows it"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use kube_embedded::api::{Api, Options};
use serde_json::Value;
use support::{Client, Server};

const CRD: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.x.test"},
"spec":{"group":"x.test","scope":"Namespaced","names":{"kind":"Widget","plural":"widgets"},"versions":[{"name":"v1","served":true,"storage":true,
"selectableFields":[{"jsonPath":".spec.color"}],
"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"color":{"type":"string"}}}}}}}]}}"#;

fn options(folder: &Path) -> Options {
    Options {
        journal: Some(folder.join("journal")),
        ..Options::default()
    }
}

async fn send(client: &Client, request: &str, body: Option<&str>) -> Value {
    let response = client.send(request, &BTreeMap::new(), body).await;
    assert!(response.status < 300, "{request}: {response}");
    serde_json::from_str(&response.body).unwrap()
}

#[tokio::test]
async fn objects_versions_definitions_and_tokens_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let with = options(folder.path());
    let server = Server::start_in(folder, &with).await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    send(
        &client,
        "POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        Some(CRD),
    )
    .await;
    let widget =
        r#"{"apiVersion":"x.test/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"color":"red"}}"#;
    let before = send(
        &client,
        "POST /apis/x.test/v1/namespaces/default/widgets",
        Some(widget),
    )
    .await;
    send(
        &client,
        "POST /api/v1/namespaces/default/serviceaccounts",
        Some(r#"{"metadata":{"name":"s"}}"#),
    )
    .await;
    let request = "POST /api/v1/namespaces/default/serviceaccounts/s/token";
    let token = send(&client, request, Some(r#"{"spec":{}}"#)).await["status"]["token"].clone();
    send(
        &client,
        "POST /api/v1/namespaces/default/configmaps",
        Some(r#"{"metadata":{"name":"gone"}}"#),
    )
    .await;
    let gone = send(&client, "DELETE /api/v1/namespaces/default/configmaps/gone", None).await;
    assert_eq!(gone["status"], "Success");
    let last = send(&client, "GET /api/v1/namespaces/default/configmaps", None).await;

    let folder = server.stop().await;
    let server = Server::start_in(folder, &with).await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    assert_eq!(
        send(&client, "GET /apis/x.test/v1/namespaces/default/widgets/w", None).await,
        before
    );
    let chosen = "GET /apis/x.test/v1/namespaces/default/widgets?fieldSelector=spec.color%3Dred";
    assert_eq!(
        send(&client, chosen, None).await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let missing = client
        .send(
            "GET /api/v1/namespaces/default/configmaps/gone",
            &BTreeMap::new(),
            None,
        )
        .await;
    assert_eq!(missing.status, 404);
    let review = serde_json::json!({"spec": {"token": token}}).to_string();
    let review = send(
        &client,
        "POST /apis/authentication.k8s.io/v1/tokenreviews",
        Some(&review),
    )
    .await;
    assert_eq!(review["status"]["authenticated"], true, "{review}");
    // The version continues after the deletion, which left no object.
    let version = |list: &Value| {
        list["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let now = send(&client, "GET /api/v1/namespaces/default/configmaps", None).await;
    assert!(
        version(&now) >= version(&last),
        "{} after {}",
        version(&now),
        version(&last)
    );
    // The history is discarded: an older watch gets an error.
    let old = before["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!(
        "GET /api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=1&resourceVersion={old}"
    );
    let late = client.send(&path, &BTreeMap::new(), None).await;
    assert!(late.body.contains("\"code\":410"), "{late}");
}

#[test]
fn truncated_last_line_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let with = options(folder.path());
    drop(Api::new(&with).unwrap());
    let path = folder.path().join("journal");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(br#"[["configmaps","default","torn",900],{"metadata":{"na"#)
        .unwrap();
    drop(file);
    let api = Api::new(&with).unwrap();
    assert!(api.store.snapshot("configmaps").entries.is_empty());
    assert_eq!(api.store.snapshot("namespaces").entries.len(), 4);
}

#[test]
fn any_other_damaged_line_is_an_error_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let with = options(folder.path());
    drop(Api::new(&with).unwrap());
    let path = folder.path().join("journal");
    let mut damaged = b"[[\"configmaps\",\n".to_vec();
    damaged.extend(std::fs::read(&path).unwrap());
    std::fs::write(&path, damaged).unwrap();
    let error = format!("{:#}", Api::new(&with).unwrap_err());
    assert!(error.contains("line 1") && error.contains("journal"), "{error}");
}
