//! The Kubernetes API: what the Gateway made, read as plain JSON.

use std::path::Path;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};

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

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("kubernaut.ai", "v1alpha1", "RemediationRequest");
        let resource = ApiResource::from_gvk_with_plural(&kind, "remediationrequests");
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}
