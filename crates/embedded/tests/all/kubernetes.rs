//! Kubernetes API: kubeconfig, persistence, faults.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;

use embedded::Kubernetes;

use crate::common::helper;

/// Sends a request; returns status line and body.
fn request(port: u16, method: &str, path: &str, token: Option<&str>, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// Returns the token of the kubeconfig, if it has one.
fn token(kubernetes: &Kubernetes) -> Option<String> {
    let text = fs::read_to_string(kubernetes.kubeconfig()).unwrap();
    let line = text.lines().find_map(|line| line.trim().strip_prefix("token:"))?;
    Some(line.trim().trim_matches('"').to_owned())
}

fn status(kubernetes: &Kubernetes, method: &str, path: &str, body: &str) -> String {
    request(
        kubernetes.port(),
        method,
        path,
        token(kubernetes).as_deref(),
        body,
    )
    .0
}

const NAMESPACE: &str = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"kept"}}"#;

#[test]
fn with_a_journal_objects_survive_a_kill() {
    let kubernetes = Kubernetes::builder().journal(true).start().unwrap();
    let kubeconfig = fs::read_to_string(kubernetes.kubeconfig()).unwrap();
    assert!(kubeconfig.contains(&kubernetes.url()), "{kubeconfig}");
    assert!(status(&kubernetes, "POST", "/api/v1/namespaces", NAMESPACE).contains("201"));

    kubernetes.kill().unwrap();
    assert!(!kubernetes.is_running());
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, kubernetes.port())).is_err());
    kubernetes.restart().unwrap();
    assert!(status(&kubernetes, "GET", "/api/v1/namespaces/kept", "").contains("200"));
    kubernetes.restart().unwrap();
    assert!(status(&kubernetes, "GET", "/api/v1/namespaces/kept", "").contains("200"));
}

#[test]
fn without_a_journal_objects_are_gone_after_a_restart() {
    let kubernetes = Kubernetes::start().unwrap();
    assert!(status(&kubernetes, "POST", "/api/v1/namespaces", NAMESPACE).contains("201"));
    kubernetes.restart().unwrap();
    assert!(status(&kubernetes, "GET", "/api/v1/namespaces/kept", "").contains("404"));
}

#[test]
fn writes_the_kubeconfig_to_the_given_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/kubeconfig");
    fs::create_dir(folder.path().join("run")).unwrap();
    let kubernetes = Kubernetes::builder().kubeconfig(&path).start().unwrap();
    assert_eq!(kubernetes.kubeconfig(), path);
    assert!(fs::read_to_string(&path).unwrap().contains(&kubernetes.url()));
}

#[test]
fn reports_a_port_that_is_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = Kubernetes::builder().port(port).start().unwrap_err();
    assert!(
        format!("{error:#}").contains(&format!("port {port} of 127.0.0.1")),
        "{error:#}"
    );
}

#[test]
fn drop_leaves_no_process_and_no_file() {
    let kubernetes = Kubernetes::start().unwrap();
    let folder = kubernetes.instance().folder().to_owned();
    let record = subprocess::Record::read(&kubernetes.instance().record).unwrap();
    assert!(record.is_alive());
    drop(kubernetes);
    assert!(!folder.exists() && !record.is_alive());
}

#[test]
fn reports_a_missing_program() {
    let mut command = helper(&["kubernetes"]);
    command
        .env("KUBE_EMBEDDED_BIN", "/no/such/program")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("invalid KUBE_EMBEDDED_BIN: /no/such/program is not a file"),
        "{text}"
    );
}
