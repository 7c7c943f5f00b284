//! Measures the server by HTTP on this machine: creations per second, server CPU time, memory, fan-out.
//!
//! ```sh
//! cargo run --release -p kube-embedded --example measure -- target/release/kube-embedded
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use subprocess::proc::Stat;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CRD: &str = r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"requests.measure.test"},
"spec":{"group":"measure.test","scope":"Namespaced","names":{"kind":"Request","plural":"requests"},"versions":[{"name":"v1","served":true,"storage":true,
"subresources":{"status":{}},"selectableFields":[{"jsonPath":".spec.fingerprint"}],
"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","required":["fingerprint"],
"x-kubernetes-validations":[{"rule":"self == oldSelf"}],
"properties":{"fingerprint":{"type":"string","pattern":"^[a-f0-9]{64}$"},"name":{"type":"string","maxLength":253},"severity":{"type":"string","enum":["critical","warning","info"]},
"labels":{"type":"object","additionalProperties":{"type":"string"}},"payload":{"type":"string"}}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}}"#;

#[tokio::main]
async fn main() -> Result<()> {
    let binary = std::env::args().nth(1).context("usage: measure BINARY")?;
    let folder = tempfile::tempdir()?;
    let started = Instant::now();
    let (mut child, address) = start(&binary, folder.path())?;
    eprintln!(
        "start to kubeconfig: {:.0} ms",
        started.elapsed().as_secs_f64() * 1000.0
    );
    let result = measure(&child, address).await;
    child.kill()?;
    child.wait()?;
    result
}

fn start(binary: &str, folder: &Path) -> Result<(Child, SocketAddr)> {
    let kubeconfig = folder.join("kubeconfig");
    let child = Command::new(binary)
        .args(["serve", "--kubeconfig"])
        .arg(&kubeconfig)
        .env("RUST_LOG", "warn")
        .spawn()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !kubeconfig.exists() {
        ensure!(
            Instant::now() < deadline,
            "{binary} wrote no kubeconfig within 10 s"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let config: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&kubeconfig)?)?;
    let server = config
        .pointer("/clusters/0/cluster/server")
        .and_then(serde_json::Value::as_str)
        .context("no server")?;
    Ok((child, server.trim_start_matches("http://").parse()?))
}

async fn measure(child: &Child, address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    connection
        .send(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            CRD,
            201,
        )
        .await?;
    for connections in [1, 16, 64] {
        let count = 10_000;
        let cpu = usage(child)?.0;
        let start = Instant::now();
        create(address, connections, count, &format!("c{connections}")).await?;
        let (wall, busy) = (start.elapsed().as_secs_f64(), usage(child)?.0 - cpu);
        let each = busy / count as f64 * 1000.0;
        eprintln!(
            "{connections} connections: {:.0} creations/s, {each:.3} ms of server time each",
            count as f64 / wall
        );
    }
    let before = usage(child)?.1;
    create(address, 16, 100_000 - 30_000, "more").await?;
    eprintln!(
        "100,000 objects of 2 KB: {:.0} MiB resident ({before:.0} with 30,000)",
        usage(child)?.1
    );
    // The server closes a connection that was idle as long as the creations may take.
    let mut connection = Connection::open(address).await?;
    let start = Instant::now();
    let size = connection
        .send("GET", "/apis/measure.test/v1/requests", "", 200)
        .await?;
    eprintln!(
        "list of 100,000: {:.0} MB in {:.2} s",
        size as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    fan_out(address).await
}

/// A hundred watches, a thousand creations: the time until every watch has received all events.
async fn fan_out(address: SocketAddr) -> Result<()> {
    let (watches, objects) = (100, 1000);
    let mut tasks = Vec::new();
    for _ in 0..watches {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /api/v1/namespaces/default/configmaps?watch=true HTTP/1.1\r\nhost: x\r\n\r\n")
            .await?;
        tasks.push(tokio::spawn(async move {
            let (mut seen, mut buffer, mut carry) = (0, vec![0; 65536], Vec::new());
            while seen < objects {
                let read = stream.read(&mut buffer).await?;
                ensure!(read > 0, "a watch ended after {seen} objects");
                carry.extend_from_slice(&buffer[..read]);
                seen += carry.windows(8).filter(|part| part == b"\"ADDED\",").count();
                let kept = carry.len().saturating_sub(7);
                carry.drain(..kept);
            }
            Ok(())
        }));
    }
    let mut connection = Connection::open(address).await?;
    let start = Instant::now();
    for index in 0..objects {
        let body = format!(r#"{{"metadata":{{"name":"f{index}"}}}}"#);
        connection
            .send("POST", "/api/v1/namespaces/default/configmaps", &body, 201)
            .await?;
    }
    for task in tasks {
        task.await??;
    }
    let events = watches * objects;
    eprintln!(
        "fan-out: {events} events to {watches} watches in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

async fn create(address: SocketAddr, connections: usize, count: usize, prefix: &str) -> Result<()> {
    let mut tasks = Vec::new();
    for worker in 0..connections {
        let prefix = format!("{prefix}-{worker}");
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(address).await?;
            let payload = "x".repeat(1200);
            for index in (worker..count).step_by(connections) {
                let body = format!(
                    r#"{{"apiVersion":"measure.test/v1","kind":"Request","metadata":{{"name":"{prefix}-{index}","labels":{{"app.kubernetes.io/managed-by":"measure","severity":"critical"}}}},"spec":{{"fingerprint":"{index:064x}","name":"HighMemoryUsage","severity":"critical","labels":{{"alertname":"HighMemoryUsage","namespace":"prod","pod":"payment-{index}"}},"payload":"{payload}"}}}}"#
                );
                connection.send("POST", "/apis/measure.test/v1/namespaces/default/requests", &body, 201).await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// A keep-alive connection: the client must cost little, as it shares the machine.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends a request and returns the size of the response body.
    async fn send(&mut self, method: &str, path: &str, body: &str, expected: u16) -> Result<usize> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the connection was closed"
            );
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .context("no content-length")?;
        let length: usize = length.trim().parse()?;
        while self.buffer.len() < end + length {
            ensure!(
                self.stream.read_buf(&mut self.buffer).await? > 0,
                "the connection was closed"
            );
        }
        if !head.starts_with(&format!("http/1.1 {expected}")) {
            bail!(
                "{method} {path}: {head}{}",
                String::from_utf8_lossy(&self.buffer[end..])
            );
        }
        Ok(length)
    }
}

/// CPU seconds that the server has used, and its resident memory in MiB.
fn usage(child: &Child) -> Result<(f64, f64)> {
    let stat = Stat::of(child.id()).context("cannot read the usage of the server: only Linux reports it")?;
    Ok((
        stat.cpu.as_secs_f64(),
        stat.resident_bytes as f64 / 1024.0 / 1024.0,
    ))
}
