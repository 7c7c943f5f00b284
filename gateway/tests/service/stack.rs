//! A Kubernetes API, a DataStorage that can be away, and any number of Gateways.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use jiff::Timestamp;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, CustomResourceExt};
use serde_json::{Value, json};
use subprocess::{Cancel, Child, Command};
use wire::remediation_request::RemediationRequest;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every test runs on.
pub(crate) struct Stack {
    pub(crate) kubernetes: embedded::Kubernetes,
    pub(crate) client: Client,
    pub(crate) storage: Storage,
    pub(crate) http: reqwest::Client,
    folder: tempfile::TempDir,
}

impl Stack {
    /// A Kubernetes API with the CRD and the namespaces `shop` and `kubernaut-system`, and a DataStorage.
    pub(crate) async fn start() -> Self {
        Self::start_with(embedded::Kubernetes::builder()).await
    }

    /// As [`Stack::start`], with these tokens: lines of `token,user,uid`.
    pub(crate) async fn start_with_tokens(tokens: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), tokens).unwrap();
        let path = file.path().to_str().unwrap();
        Self::start_with(
            embedded::Kubernetes::builder()
                .argument("--token-auth-file")
                .argument(path),
        )
        .await
    }

    /// As [`Stack::start`]; the Kubernetes API keeps its objects when it is stopped and started.
    pub(crate) async fn start_with_journal() -> Self {
        Self::start_with(embedded::Kubernetes::builder().journal(true)).await
    }

    async fn start_with(builder: embedded::Builder<embedded::KubernetesOptions>) -> Self {
        let kubernetes = tokio::task::spawn_blocking(|| builder.start())
            .await
            .unwrap()
            .unwrap();
        let file = Kubeconfig::read_from(kubernetes.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        let client = Client::try_from(config).unwrap();
        let crds: Api<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        > = Api::all(client.clone());
        crds.create(&PostParams::default(), &RemediationRequest::crd())
            .await
            .unwrap();
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        for name in ["shop", "kubernaut-system"] {
            let metadata = ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            };
            let namespace = k8s_openapi::api::core::v1::Namespace {
                metadata,
                ..Default::default()
            };
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        }
        let requests: Api<RemediationRequest> = Api::all(client.clone());
        until("the CRD to be served", async || {
            requests.list(&Default::default()).await.is_ok()
        })
        .await;
        Self {
            kubernetes,
            client,
            storage: Storage::start().await,
            http: reqwest::Client::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A Gateway with this name (its spool's), ready; `more` is appended to its configuration.
    pub(crate) async fn gateway(&self, name: &str, more: &str) -> Gateway {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("config.toml");
        let text = format!(
            "[kubernetes]\nkubeconfig = {:?}\n[datastorage]\nurl = \"http://{}\"\n[spool]\ndirectory = {:?}\n\
             [stop]\nannounce_ms = 200\ndrain_ms = 10000\nflush_ms = 2000\n{more}\n",
            self.kubernetes.kubeconfig(),
            self.storage.address,
            folder.join("spool"),
        );
        let text = match text.contains("[http]") {
            true => text.replace("[http]\n", &format!("[http]\n{LISTEN}")),
            false => format!("[http]\n{LISTEN}{text}"),
        };
        std::fs::write(&config, text).unwrap();
        let log = folder.join(format!("log-{}", uuid::Uuid::now_v7()));
        let mut command = process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["serve", "--config"]).arg(config);
        let child = Command::new(command).name("gateway").log(&log).spawn().unwrap();
        let addresses = addresses(&child, &log).await;
        let gateway = Gateway {
            child,
            log,
            addresses,
            http: self.http.clone(),
        };
        until("the Gateway to be ready", async || {
            gateway.get_health("/readyz").await == Some(200)
        })
        .await;
        gateway
    }

    /// All requests of the namespace.
    pub(crate) async fn requests(&self, namespace: &str) -> Vec<RemediationRequest> {
        Api::namespaced(self.client.clone(), namespace)
            .list(&Default::default())
            .await
            .unwrap()
            .items
    }

    /// Sets a request's phase, as another service would.
    pub(crate) async fn set_phase(&self, request: &RemediationRequest, phase: &str) {
        let namespace = request.metadata.namespace.as_deref().unwrap();
        let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({ "status": { "overallPhase": phase, "conditions": [] } }));
        let name = request.metadata.name.as_deref().unwrap();
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Adds a fault to the Kubernetes API.
    pub(crate) async fn fault(&self, fault: Value) {
        let url = format!("{}/faults", self.kubernetes.url());
        let answer = self.http.post(url).json(&fault).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{fault}: {}",
            answer.text().await.unwrap()
        );
    }

    /// How often all faults struck.
    pub(crate) async fn struck(&self) -> Value {
        self.http
            .get(format!("{}/faults", self.kubernetes.url()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }
}

const LISTEN: &str = "api = \"127.0.0.1:0\"\nhealth = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n";

#[derive(Clone, Copy)]
struct Addresses {
    api: SocketAddr,
    health: SocketAddr,
    metrics: SocketAddr,
}

/// A running Gateway, killed when dropped.
pub(crate) struct Gateway {
    child: Child,
    log: PathBuf,
    addresses: Addresses,
    http: reqwest::Client,
}

/// What the Gateway answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Gateway {
    /// The URL of a path of the API.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.api)
    }

    /// Sends a webhook.
    pub(crate) async fn webhook(&self, body: &Value) -> Answer {
        self.try_webhook(body).await.unwrap()
    }

    /// Sends a webhook; none if there was no answer.
    pub(crate) async fn try_webhook(&self, body: &Value) -> Option<Answer> {
        let request = self.http.post(self.url("/api/v1/signals/prometheus")).json(body);
        answer(request).await
    }

    /// Sends one alert about a pod in `shop`.
    pub(crate) async fn alert(&self, name: &str) -> Answer {
        self.webhook(&webhook(&[alert(name)])).await
    }

    /// Sends `number` of the same alert at once; how many of each status were answered.
    pub(crate) async fn storm(&self, name: &str, number: usize) -> BTreeMap<u16, usize> {
        let body = webhook(&[alert(name)]);
        let answers = futures::future::join_all((0..number).map(|_| self.webhook(&body))).await;
        counted(answers)
    }

    /// The status of a path of the health listener.
    pub(crate) async fn get_health(&self, path: &str) -> Option<u16> {
        let request = self.http.get(format!("http://{}{path}", self.addresses.health));
        Some(request.send().await.ok()?.status().as_u16())
    }

    /// A metric's value.
    pub(crate) async fn metric(&self, line: &str) -> Option<f64> {
        let request = self
            .http
            .get(format!("http://{}/metrics", self.addresses.metrics));
        let text = request.send().await.unwrap().text().await.unwrap();
        text.lines()
            .find_map(|text| text.strip_prefix(line)?.trim().parse().ok())
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Begins its ordered end.
    pub(crate) fn terminate(&self) {
        let pid = self.child.pid().to_string();
        assert!(
            process::Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end, which must be in order.
    pub(crate) async fn ended(self) {
        tokio::task::spawn_blocking(move || self.child.wait(&Cancel::never()))
            .await
            .unwrap()
            .unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(self) {
        self.child.kill();
    }
}

/// Sends a request and reads the answer as JSON.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Option<Answer> {
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.ok()?;
    Some(Answer {
        status,
        headers,
        body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
    })
}

/// How many answers there are of each status.
pub(crate) fn counted(answers: impl IntoIterator<Item = Answer>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_insert(0) += 1;
    }
    counts
}

/// A firing alert about a pod in `shop`.
pub(crate) fn alert(name: &str) -> Value {
    json!({
        "status": "firing",
        "labels": { "alertname": name, "namespace": "shop", "pod": "payment-1", "severity": "critical" },
        "startsAt": Timestamp::now().to_string(),
    })
}

/// A webhook with these alerts.
pub(crate) fn webhook(alerts: &[Value]) -> Value {
    json!({ "version": "4", "receiver": "kubernaut", "status": "firing", "alerts": alerts })
}

async fn addresses(child: &Child, log: &Path) -> Addresses {
    let mut found = None;
    until("the Gateway to serve", async || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        assert!(child.is_running(), "the Gateway ended: {text}");
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        found = lines
            .filter(|line| line["message"] == "serving")
            .find_map(|line| {
                let address = |name: &str| line[name].as_str()?.parse().ok();
                Some(Addresses {
                    api: address("api")?,
                    health: address("health")?,
                    metrics: address("metrics")?,
                })
            });
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(
            Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A DataStorage that keeps each event once, and can be away.
#[derive(Clone)]
pub(crate) struct Storage {
    address: SocketAddr,
    inner: Arc<Mutex<Stored>>,
}

#[derive(Default)]
struct Stored {
    away: bool,
    events: BTreeMap<String, Value>,
}

impl Storage {
    async fn start() -> Self {
        let inner = Arc::<Mutex<Stored>>::default();
        let routes = Router::new()
            .route("/api/v1/audit/events/batch", post(store))
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, inner }
    }

    /// Goes away, or comes back.
    pub(crate) fn set_away(&self, away: bool) {
        self.inner.lock().unwrap().away = away;
    }

    /// The events of this type that are stored.
    pub(crate) fn events(&self, event_type: &str) -> Vec<Value> {
        let inner = self.inner.lock().unwrap();
        inner
            .events
            .values()
            .filter(|event| event["event_type"] == event_type)
            .cloned()
            .collect()
    }
}

async fn store(
    State(stored): State<Arc<Mutex<Stored>>>,
    axum::Json(events): axum::Json<Vec<Value>>,
) -> StatusCode {
    let mut stored = stored.lock().unwrap();
    if stored.away {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    for event in events {
        // What DataStorage would refuse must not be sent.
        let read: wire::audit::AuditEvent = serde_json::from_value(event.clone()).unwrap();
        let id = read.event_id.unwrap().to_string();
        if let Some(known) = stored.events.insert(id, event.clone()) {
            assert_eq!(known, event, "the same id with another body");
        }
    }
    StatusCode::CREATED
}
