//! The objects of every new cluster.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Api, Call, split_api_version};
use crate::object;
use crate::status::Status;

/// Address of the service `kubernetes`.
pub(super) const SERVICE_ADDRESS: &str = "10.96.0.1";

impl Api {
    /// Creates namespaces and roles, unless they exist.
    pub(super) fn bootstrap(&self) -> anyhow::Result<()> {
        let objects: Vec<Value> = serde_json::from_str(include_str!("../builtin/bootstrap.json"))?;
        for object in objects {
            match self.create_value(&self.call_of(&object)?, object) {
                Ok(_) => {}
                Err(status) if status.reason == "AlreadyExists" => {}
                Err(status) => anyhow::bail!("cannot create an object of bootstrap.json: {}", status.message),
            }
        }
        Ok(())
    }

    /// Publishes the server's address as the service `kubernetes` with its endpoints.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn publish(&self, address: SocketAddr) -> anyhow::Result<()> {
        let (ip, port) = (address.ip().to_string(), address.port());
        let endpoint_port = json!({"name": "https", "port": port, "protocol": "TCP"});
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let metadata =
            |labels: Value| json!({"name": "kubernetes", "namespace": "default", "labels": labels});
        let objects = [
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": metadata(json!({"component": "apiserver", "provider": "kubernetes"})),
                "spec": {
                    "clusterIP": SERVICE_ADDRESS, "type": "ClusterIP", "sessionAffinity": "None",
                    "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
                },
            }),
            json!({
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": metadata(json!({"endpointslice.kubernetes.io/skip-mirror": "true"})),
                "subsets": [{"addresses": [{"ip": ip}], "ports": [endpoint_port]}],
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": metadata(json!({"kubernetes.io/service-name": "kubernetes"})),
                "addressType": family, "ports": [endpoint_port],
                "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
            }),
        ];
        for object in objects {
            self.put(&object).map_err(|status| {
                anyhow::anyhow!("cannot publish the service `kubernetes`: {}", status.message)
            })?;
        }
        Ok(())
    }

    /// Creates an object, or changes its ports and addresses to those given.
    fn put(&self, object: &Value) -> Result<(), Status> {
        let call = self
            .call_of(object)
            .map_err(|error| Status::internal(error.to_string()))?;
        match self.create_value(&call, object.clone()) {
            Err(status) if status.reason == "AlreadyExists" => {}
            created => return created.map(|_| ()),
        }
        let changed = self.modify(&call, false, &|current| {
            let mut changed = current.clone();
            for field in ["addressType", "endpoints", "ports", "subsets"] {
                if let Some(value) = object.get(field) {
                    changed[field] = value.clone();
                }
            }
            if let Some(ports) = object.pointer("/spec/ports") {
                changed["spec"]["ports"] = ports.clone();
            }
            Ok((changed, Vec::new()))
        });
        changed.map(|_| ())
    }

    fn call_of(&self, object: &Value) -> anyhow::Result<Call> {
        let (group, version) = split_api_version(object::text(object, "/apiVersion"));
        let kind = object::text(object, "/kind");
        let served = self.registry.served();
        let resource = served
            .all()
            .find(|resource| resource.kind == kind && resource.group == group && resource.version == version);
        let Some(resource) = resource else {
            anyhow::bail!("{kind} is not served")
        };
        let mut call = Call::internal(
            resource,
            object::meta(object, "namespace"),
            object::meta(object, "name"),
        );
        call.agent = "kube-apiserver".to_owned();
        Ok(call)
    }
}
