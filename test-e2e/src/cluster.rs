//! The Kubernetes API: what the Gateway made, read as plain JSON.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::wait::{Seen, until};

/// A pod that goes has up to 40 s, and may be the only one for a while that a slow machine starts.
const SCALED: Duration = Duration::from_secs(120);

/// A client of the cluster in a kubeconfig.
pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let file = || format!("the kubeconfig {}", kubeconfig.display());
    let read = Kubeconfig::read_from(kubeconfig).with_context(file)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(file)?;
    Client::try_from(config).with_context(file)
}

/// The cluster that the Gateway writes to.
pub(crate) struct Cluster {
    client: Client,
}

impl Cluster {
    pub(crate) async fn connect(kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            client: connect(kubeconfig).await?,
        })
    }

    /// Makes a namespace.
    pub(crate) async fn create_namespace(&self, name: &str) -> Result<()> {
        let labels = [("app.kubernetes.io/managed-by".to_owned(), "test-e2e".to_owned())];
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(labels.into()),
                ..Default::default()
            },
            ..Default::default()
        };
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .with_context(|| format!("namespace {name}"))?;
        Ok(())
    }

    /// Deletes a namespace with everything in it, without waiting until it is gone.
    pub(crate) async fn delete_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// The RemediationRequests of a namespace, whole, in the order of their names.
    pub(crate) async fn requests(&self, namespace: &str) -> Result<Vec<Value>> {
        let list = self.api(namespace).list(&ListParams::default()).await;
        let list = list.with_context(|| format!("the RemediationRequests of {namespace}"))?;
        let mut requests = list
            .items
            .iter()
            .map(serde_json::to_value)
            .collect::<Result<Vec<_>, _>>()?;
        requests.sort_by_key(|request| request["metadata"]["name"].to_string());
        Ok(requests)
    }

    /// One RemediationRequest, whole.
    pub(crate) async fn request(&self, namespace: &str, name: &str) -> Result<Value> {
        let request = self.api(namespace).get(name).await;
        Ok(serde_json::to_value(request.with_context(|| {
            format!("RemediationRequest {namespace}/{name}")
        })?)?)
    }

    /// Sets a request's phase, as the controllers after the Gateway do.
    pub(crate) async fn set_phase(&self, namespace: &str, name: &str, phase: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"status": {"overallPhase": phase}}));
        self.api(namespace)
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("the phase {phase} of RemediationRequest {namespace}/{name}"))?;
        Ok(())
    }

    /// Deletes a request if it is there.
    pub(crate) async fn delete_request(&self, namespace: &str, name: &str) -> Result<()> {
        match self.api(namespace).delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// Has a service's Deployment run so many replicas, waits until these and no others are there, and gives how many
    /// there were.
    pub(crate) async fn scale(&self, namespace: &str, name: &str, replicas: u32) -> Result<u32> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), namespace);
        let before = deployments
            .get_scale(name)
            .await
            .with_context(|| format!("Deployment {namespace}/{name}"))?;
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        deployments
            .patch_scale(name, &PatchParams::default(), &patch)
            .await?;
        let selector = ListParams::default().labels(&format!("app.kubernetes.io/name={name}"));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        until(SCALED, &format!("{replicas} replicas of {name}"), async || {
            let status = deployments.get_status(name).await?.status.unwrap_or_default();
            let (ready, all) = (
                status.ready_replicas.unwrap_or(0),
                pods.list(&selector).await?.items.len(),
            );
            let done = ready.unsigned_abs() == replicas && all as u32 == replicas;
            Ok(if done {
                Seen::Yes(())
            } else {
                Seen::NotYet(format!("{ready} of {all} pods are ready"))
            })
        })
        .await?;
        Ok(before
            .spec
            .and_then(|spec| spec.replicas)
            .unwrap_or(1)
            .unsigned_abs())
    }

    /// Adds a fault to the embedded Kubernetes API.
    pub(crate) async fn add_fault(&self, fault: &Value) -> Result<u64> {
        let request = Request::post("/faults").body(fault.to_string().into_bytes())?;
        let added: Value = self
            .client
            .request(request)
            .await
            .with_context(|| format!("the fault {fault}"))?;
        added["id"]
            .as_u64()
            .with_context(|| format!("no id of a fault in {added}"))
    }

    /// Takes a fault away.
    pub(crate) async fn remove_fault(&self, number: u64) -> Result<()> {
        let request = Request::delete(format!("/faults/{number}")).body(Vec::new())?;
        self.client
            .request::<Value>(request)
            .await
            .with_context(|| format!("the fault {number}"))?;
        Ok(())
    }

    /// How often a fault has struck.
    pub(crate) async fn struck(&self, number: u64) -> Result<u64> {
        let list: Value = self
            .client
            .request(Request::get("/faults").body(Vec::new())?)
            .await?;
        let faults = list["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
        let fault = faults.iter().find(|fault| fault["id"] == number);
        fault
            .and_then(|fault| fault["struck"].as_u64())
            .with_context(|| format!("no fault {number} in {list}"))
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("kubernaut.ai", "v1alpha1", "RemediationRequest");
        let resource = ApiResource::from_gvk_with_plural(&kind, "remediationrequests");
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}
