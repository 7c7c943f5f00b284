//! Injected faults affect exactly the selected requests.

#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers, outside of the functions in which clippy.toml allows it"
)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Client, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn add(client: &Client, fault: Value) -> u64 {
    let response = client
        .send("POST /faults", &BTreeMap::new(), Some(&fault.to_string()))
        .await;
    assert_eq!(response.status, 201, "{response}");
    serde_json::from_str::<Value>(&response.body).unwrap()["id"]
        .as_u64()
        .unwrap()
}

async fn get(client: &Client, path: &str) -> support::Response {
    client.send(&format!("GET {path}"), &BTreeMap::new(), None).await
}

/// The bytes of the response to a request, or the error.
async fn raw(server: &Server, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server.address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response)
}

#[tokio::test]
async fn throttles_the_next_two_writes_and_no_reads() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    let fault = json!({"fault": "too-many-requests", "method": "POST", "path": "/configmaps$", "times": 2, "retryAfterSeconds": 3});
    add(&client, fault).await;
    let create = |name: &str| format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
    let path = "POST /api/v1/namespaces/default/configmaps";
    for _ in 0..2 {
        let response = client.send(path, &BTreeMap::new(), Some(&create("a"))).await;
        assert_eq!(response.status, 429, "{response}");
        assert_eq!(response.headers["retry-after"], "3");
        assert!(
            response.body.contains("\"reason\":\"TooManyRequests\""),
            "{response}"
        );
        assert_eq!(
            get(&client, "/api/v1/namespaces/default/configmaps").await.status,
            200
        );
    }
    assert_eq!(
        client
            .send(path, &BTreeMap::new(), Some(&create("a")))
            .await
            .status,
        201
    );
    let listed = get(&client, "/faults").await;
    assert!(
        listed.body.contains("\"affected\":2") && listed.body.contains("\"finished\":true"),
        "{listed}"
    );
}

#[tokio::test]
async fn injected_errors_have_the_bodies_that_clients_check() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    for (fault, code, reason) in [
        ("internal-error", 500, "InternalError"),
        ("unavailable", 503, "ServiceUnavailable"),
        ("conflict", 409, "Conflict"),
    ] {
        add(&client, json!({"fault": fault, "times": 1})).await;
        let response = get(&client, "/api/v1/namespaces/default").await;
        assert_eq!(response.status, code);
        assert!(
            response.body.contains(&format!("\"reason\":\"{reason}\"")),
            "{response}"
        );
        assert_eq!(get(&client, "/api/v1/namespaces/default").await.status, 200);
    }
}

#[tokio::test]
async fn fault_skips_requests_first_and_can_be_removed() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    let id = add(
        &client,
        json!({"fault": "unavailable", "skip": 1, "retryAfterSeconds": 7}),
    )
    .await;
    assert_eq!(get(&client, "/version").await.status, 200);
    let response = get(&client, "/version").await;
    assert_eq!(
        (response.status, response.headers["retry-after"].to_str().unwrap()),
        (503, "7")
    );
    let removed = client
        .send(&format!("DELETE /faults/{id}"), &BTreeMap::new(), None)
        .await;
    assert!(removed.body.contains("\"removed\":1"), "{removed}");
    assert_eq!(get(&client, "/version").await.status, 200);
}

#[tokio::test]
async fn latency_delays_the_response() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    add(
        &client,
        json!({"fault": "latency", "milliseconds": 300, "times": 1}),
    )
    .await;
    let start = Instant::now();
    assert_eq!(get(&client, "/version").await.status, 200);
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn connection_is_reset_before_or_after_the_write() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    for (fault, name, status) in [("reset", "before", 404), ("reset-after", "after", 200)] {
        add(&client, json!({"fault": fault, "method": "POST", "times": 1})).await;
        let body = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
        let head = "POST /api/v1/namespaces/default/secrets HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
        let error = raw(
            &server,
            &format!("{head}content-length: {}\r\n\r\n{body}", body.len()),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(
            get(&client, &format!("/api/v1/namespaces/default/secrets/{name}"))
                .await
                .status,
            status
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_succeeds_after_the_closing_of_the_port_is_acknowledged() {
    const CONNECTIONS: usize = 64;
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
            .await
            .unwrap();
        open.push(stream);
    }
    add(&client, json!({"fault": "close-port", "forMilliseconds": 60_000})).await;
    for stream in &mut open {
        // An error is as good as silence: the connection may be reset already.
        let _ = stream.write_all(b"\r\n").await;
    }
    for mut stream in open {
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response).await;
        assert_eq!(String::from_utf8_lossy(&response), "");
    }
}

#[tokio::test]
async fn closed_port_cuts_connections_and_opens_again_after_its_time() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let start = Instant::now();
    add(&client, json!({"fault": "close-port", "forMilliseconds": 400})).await;
    // The port is closed before its connections are.
    let cut = tokio::time::timeout(Duration::from_secs(60), idle.read(&mut [0])).await;
    assert_eq!(cut.unwrap().unwrap_or_default(), 0);
    support::until("the port is open", async || {
        TcpStream::connect(server.address).await.is_ok()
    })
    .await;
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
    let head = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(
        String::from_utf8(raw(&server, head).await.unwrap())
            .unwrap()
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn stalled_watch_is_silent_and_then_sends_everything() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    let id = add(&client, json!({"fault": "stall-watch", "path": "/secrets$"})).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "GET /api/v1/namespaces/default/secrets?watch=true HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let created = client
        .send(
            "POST /api/v1/namespaces/default/secrets",
            &BTreeMap::new(),
            Some(r#"{"metadata":{"name":"late"}}"#),
        )
        .await;
    assert_eq!(created.status, 201);
    let mut seen = Vec::new();
    let silence = tokio::time::timeout(
        Duration::from_millis(300),
        read_until(&mut stream, &mut seen, "late"),
    )
    .await;
    assert!(
        silence.is_err(),
        "a stalled watch sent {}",
        String::from_utf8_lossy(&seen)
    );
    client
        .send(&format!("DELETE /faults/{id}"), &BTreeMap::new(), None)
        .await;
    let events = tokio::time::timeout(
        Duration::from_secs(60),
        read_until(&mut stream, &mut seen, "late"),
    )
    .await;
    assert!(
        events.is_ok(),
        "the watch stayed silent: {}",
        String::from_utf8_lossy(&seen)
    );
}

async fn read_until(stream: &mut TcpStream, seen: &mut Vec<u8>, text: &str) {
    while !String::from_utf8_lossy(seen).contains(text) {
        assert!(stream.read_buf(seen).await.unwrap() > 0, "the watch ended");
    }
}

#[tokio::test]
async fn invalid_faults_are_rejected_with_the_reason() {
    let server = Server::start().await;
    let client = Client::of_kubeconfig(&server.kubeconfig).await;
    for (fault, what) in [
        (json!({"fault": "earthquake"}), "earthquake"),
        (json!({"fault": "latency"}), "milliseconds"),
        (json!({"fault": "reset", "path": "("}), "regular expression"),
        (json!({"fault": "close-port"}), "forMilliseconds"),
        (json!({"fault": "reset", "tims": 1}), "tims"),
    ] {
        let response = client
            .send("POST /faults", &BTreeMap::new(), Some(&fault.to_string()))
            .await;
        assert_eq!(response.status, 400);
        assert!(response.body.contains(what), "{response}");
    }
}
