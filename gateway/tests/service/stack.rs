//! A Kubernetes API, a DataStorage that can be unavailable, and any number of Gateways.

mod gateway;
mod storage;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, CustomResourceExt};
use serde_json::{Value, json};
use wire::remediation_request::RemediationRequest;

pub(crate) use self::gateway::{Answer, Gateway, answer, counted};
pub(crate) use self::storage::Storage;

/// Maximum time of any wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The servers of every test.
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

    /// Like [`Stack::start`], with these tokens: lines of `token,user,uid`.
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

    /// Like [`Stack::start`]; the Kubernetes API keeps its objects when it is stopped and started.
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

    /// A ready Gateway with this name (its spool's); `more` is appended to its configuration.
    pub(crate) async fn gateway(&self, name: &str, more: &str) -> Gateway {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "environment = \"test\"\n[kubernetes]\nkubeconfig = {:?}\n[datastorage]\nurl = \"http://{}\"\n{more}\n",
            self.kubernetes.kubeconfig(),
            self.storage.address,
        );
        Gateway::start(&folder, &settings, self.http.clone()).await
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
        self.set_status(request, &json!({ "overallPhase": phase, "conditions": [] }))
            .await;
    }

    /// Sets fields of a request's status, as another service would.
    pub(crate) async fn set_status(&self, request: &RemediationRequest, status: &Value) {
        let namespace = request.metadata.namespace.as_deref().unwrap();
        let api: Api<RemediationRequest> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({ "status": status }));
        let name = request.metadata.name.as_deref().unwrap();
        api.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Applies a JSON patch to the CRD.
    pub(crate) async fn patch_crd(&self, patch: &Value) {
        let name = RemediationRequest::crd_name();
        let url = format!(
            "{}/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}",
            self.kubernetes.url()
        );
        let request = self
            .http
            .patch(url)
            .header("content-type", "application/json-patch+json");
        let status = request.body(patch.to_string()).send().await.unwrap().status();
        assert!(status.is_success(), "{status}");
    }

    /// Creates a request from any JSON.
    pub(crate) async fn create_raw(&self, namespace: &str, request: &Value) -> reqwest::StatusCode {
        let url = format!(
            "{}/apis/kubernaut.ai/v1alpha1/namespaces/{namespace}/remediationrequests",
            self.kubernetes.url()
        );
        self.http.post(url).json(request).send().await.unwrap().status()
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

    /// Number of requests affected by all faults.
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

/// Waits until a condition is met.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
