//! Client of the Kubernetes API; objects are plain JSON.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Request;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::wait::{Seen, until};

/// Terminating a pod takes up to 40 s, and a slow machine may start its replacement only afterwards.
const SCALED: Duration = Duration::from_secs(120);

/// Connects to the cluster of a kubeconfig.
pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let file = || format!("the kubeconfig {}", kubeconfig.display());
    let read = Kubeconfig::read_from(kubeconfig).with_context(file)?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(file)?;
    Client::try_from(config).with_context(file)
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

/// The cluster in which the Gateway creates requests.
pub(crate) struct Cluster {
    client: Client,
}

impl Cluster {
    pub(crate) async fn connect(kubeconfig: &Path) -> Result<Self> {
        Ok(Self {
            client: connect(kubeconfig).await?,
        })
    }

    /// Creates a namespace.
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

    /// Deletes a namespace with everything in it, without waiting for the deletion to finish.
    pub(crate) async fn delete_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Returns the RemediationRequests of a namespace, ordered by name.
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

    /// Returns one RemediationRequest.
    pub(crate) async fn request(&self, namespace: &str, name: &str) -> Result<Value> {
        let request = self.api(namespace).get(name).await;
        Ok(serde_json::to_value(request.with_context(|| {
            format!("RemediationRequest {namespace}/{name}")
        })?)?)
    }

    /// Sets a request's phase, as the controllers downstream of the Gateway do.
    pub(crate) async fn set_phase(&self, namespace: &str, name: &str, phase: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"status": {"overallPhase": phase}}));
        self.api(namespace)
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .with_context(|| format!("the phase {phase} of RemediationRequest {namespace}/{name}"))?;
        Ok(())
    }

    /// Deletes a request if it exists.
    pub(crate) async fn delete_request(&self, namespace: &str, name: &str) -> Result<()> {
        match self.api(namespace).delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// Creates a service account and returns a token for it.
    pub(crate) async fn account(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let account = ServiceAccount {
            metadata: named(name),
            ..Default::default()
        };
        let what = || format!("service account {namespace}/{name}");
        accounts
            .create(&PostParams::default(), &account)
            .await
            .with_context(what)?;
        let request = accounts
            .create_token_request(name, &PostParams::default(), &TokenRequest::default())
            .await;
        request
            .with_context(what)?
            .status
            .map(|status| status.token)
            .with_context(what)
    }

    /// Deletes a service account, which invalidates its tokens.
    pub(crate) async fn delete_account(&self, namespace: &str, name: &str) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        accounts.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Grants a service account one verb on one object of its namespace.
    pub(crate) async fn allow(
        &self,
        namespace: &str,
        account: &str,
        resource: &str,
        object: &str,
        verbs: &[&str],
    ) -> Result<()> {
        let rule = PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![resource.to_owned()]),
            resource_names: Some(vec![object.to_owned()]),
            verbs: verbs.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let role = Role {
            metadata: named(account),
            rules: Some(vec![rule]),
        };
        let roles: Api<Role> = Api::namespaced(self.client.clone(), namespace);
        roles
            .create(&PostParams::default(), &role)
            .await
            .with_context(|| format!("role {namespace}/{account}"))?;
        let subject = Subject {
            kind: "ServiceAccount".to_owned(),
            name: account.to_owned(),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        };
        let role_ref = RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: account.to_owned(),
        };
        let binding = RoleBinding {
            metadata: named(account),
            role_ref,
            subjects: Some(vec![subject]),
        };
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), namespace);
        let bound = bindings.create(&PostParams::default(), &binding).await;
        bound.with_context(|| format!("role binding {namespace}/{account}"))?;
        Ok(())
    }

    /// Scales a service's Deployment, waits until exactly this many pods are ready, and returns the previous
    /// number of replicas.
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

    /// Removes a fault.
    pub(crate) async fn remove_fault(&self, number: u64) -> Result<()> {
        let request = Request::delete(format!("/faults/{number}")).body(Vec::new())?;
        self.client
            .request::<Value>(request)
            .await
            .with_context(|| format!("the fault {number}"))?;
        Ok(())
    }

    /// Returns how often a fault has fired.
    pub(crate) async fn struck(&self, number: u64) -> Result<u64> {
        let list: Value = self
            .client
            .request(Request::get("/faults").body(Vec::new())?)
            .await?;
        let faults = list["faults"].as_array().map(Vec::as_slice).unwrap_or_default();
        let fault = faults.iter().find(|fault| fault["id"] == number);
        fault
            .and_then(|fault| fault["affected"].as_u64())
            .with_context(|| format!("no fault {number} in {list}"))
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("kubernaut.ai", "v1alpha1", "RemediationRequest");
        let resource = ApiResource::from_gvk_with_plural(&kind, "remediationrequests");
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }
}
