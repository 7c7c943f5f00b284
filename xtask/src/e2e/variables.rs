//! Template variables: the same names on every provider.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::template;
use crate::{
    ports::{Assigned, Ports},
    stack::Stack,
    yaml::{self, Object},
};

/// How the programs run, as far as configuration files depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Runtime<'a> {
    /// In pods of a cluster.
    Pods,
    /// As processes of this machine, with files in the run's folder.
    Processes { folder: &'a Path },
}

/// Sources of the variables.
pub(crate) struct Sources<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) namespace: &'a str,
    pub(crate) ports: &'a Ports,
    pub(crate) runtime: Runtime<'a>,
    /// Image of each service and component.
    pub(crate) images: BTreeMap<String, String>,
    /// Kubernetes' `imagePullPolicy`.
    pub(crate) pull_policy: &'static str,
    /// Version of each service: a content hash.
    pub(crate) versions: BTreeMap<String, String>,
}

/// Returns the name of the Secret with the run's secrets.
pub(crate) fn secret_name(stack: &Stack) -> String {
    format!("{}-secrets", stack.stack.name)
}

impl Sources<'_> {
    /// Returns the variables of the configuration files, which are those of the manifests without `checksums`.
    pub(crate) fn variables(&self) -> anyhow::Result<Value> {
        let stack = self.stack;
        let mut variables = json!({
            "namespace": self.namespace,
            "secret": secret_name(stack),
            "pull_policy": self.pull_policy,
            "images": self.images,
            "versions": self.versions,
            "ports": self.ports,
            "listen": self.listen(),
            "secrets_dir": self.per_service(|name| match self.runtime {
                Runtime::Pods => format!("/run/secrets/{name}"),
                Runtime::Processes { folder } => folder.join("secrets").display().to_string(),
            }),
            "data": self.per_service(|name| match self.runtime {
                Runtime::Pods => format!("/var/lib/{name}"),
                Runtime::Processes { folder } => folder.join("data").join(name).display().to_string(),
            }),
            "kubeconfig": match self.runtime {
                Runtime::Pods => String::new(),
                Runtime::Processes { folder } => folder.join("kubeconfig").display().to_string(),
            },
            "probes": stack.components.iter()
                .map(|(name, component)| (name.get_ref().clone(), json!(component.probe)))
                .collect::<serde_json::Map<_, _>>(),
            "checksums": self.per_service(|_| String::new()),
        });
        variables["address"] = self.addresses(&variables)?;
        Ok(variables)
    }

    /// Returns the variables of the manifests: those of the configuration files and `checksums.SERVICE`, which replaces
    /// the pods when the service's configuration changes.
    pub(crate) fn manifest_variables(&self) -> anyhow::Result<Value> {
        let mut variables = self.variables()?;
        let mut checksums = serde_json::Map::new();
        for name in self.stack.services.keys() {
            let config = self.config(name.get_ref(), &variables)?;
            checksums.insert(
                name.get_ref().clone(),
                json!(super::hash::short(config.as_bytes())),
            );
        }
        variables["checksums"] = Value::Object(checksums);
        Ok(variables)
    }

    /// Returns a service's rendered configuration.
    pub(crate) fn config(&self, service: &str, variables: &Value) -> anyhow::Result<String> {
        let Some(entry) = self.stack.services.get(service) else {
            anyhow::bail!("unknown service {service}");
        };
        let path = self.stack.path(&entry.config);
        let text = template::render_file(&path, variables)?;
        toml::from_str::<toml::Table>(&text).map_err(|error| {
            anyhow::anyhow!(
                "{}: invalid TOML after rendering: {error}",
                crate::stack::shown(&path)
            )
        })?;
        Ok(text)
    }

    /// Returns the rendered objects of an entry's manifest.
    pub(crate) fn manifest(&self, entry: &str, variables: &Value) -> anyhow::Result<Vec<Object>> {
        let Some((_, path)) = self.stack.manifests().find(|(name, _)| *name == entry) else {
            anyhow::bail!("unknown entry {entry}");
        };
        let text = template::render_file(&path, variables)?;
        yaml::objects(&crate::stack::shown(&path), &text)
    }

    fn per_service(&self, value: impl Fn(&str) -> String) -> BTreeMap<String, String> {
        self.stack
            .services
            .keys()
            .map(|name| (name.get_ref().clone(), value(name.get_ref())))
            .collect()
    }

    fn listen(&self) -> Value {
        self.per_port(|_, _, port| match self.runtime {
            Runtime::Pods => format!("0.0.0.0:{}", port.container),
            Runtime::Processes { .. } => format!("127.0.0.1:{}", port.host),
        })
    }

    fn per_port(&self, value: impl Fn(&str, &str, &Assigned) -> String) -> Value {
        let owner = |(owner, ports): (&String, &BTreeMap<String, Assigned>)| {
            let ports: serde_json::Map<_, _> = ports
                .iter()
                .map(|(name, port)| (name.clone(), json!(value(owner, name, port))))
                .collect();
            (owner.clone(), Value::Object(ports))
        };
        Value::Object(self.ports.iter().map(owner).collect())
    }

    /// Returns the addresses by which programs reach each other: in pods the DNS name of the Service with the port, from
    /// the owner's manifest.
    fn addresses(&self, variables: &Value) -> anyhow::Result<Value> {
        let mut services: BTreeMap<String, Vec<Object>> = BTreeMap::new();
        if let Runtime::Pods = self.runtime {
            let mut unaddressed = variables.clone();
            unaddressed["address"] = self.per_port(|_, _, _| "unknown:0".to_owned());
            for owner in self.ports.keys() {
                let mut objects = self.manifest(owner, &unaddressed)?;
                objects.retain(|object| object.kind() == "Service");
                services.insert(owner.clone(), objects);
            }
        }
        Ok(self.per_port(|owner, name, port| match self.runtime {
            Runtime::Processes { .. } => format!("127.0.0.1:{}", port.host),
            Runtime::Pods => {
                let of_owner = services.get(owner).into_iter().flatten();
                let mut with_port =
                    of_owner.filter_map(|service| Some((service.name(), service_port(service, name)?)));
                match with_port.next() {
                    Some((service, port)) => format!("{service}:{port}"),
                    None => format!("{owner}:{}", port.container),
                }
            }
        }))
    }
}

fn service_port(service: &Object, name: &str) -> Option<u64> {
    let ports = service.0.pointer("/spec/ports")?.as_array()?;
    let port = ports.iter().find(|port| port["name"] == name)?;
    port["port"].as_u64()
}

#[cfg(test)]
mod tests {
    use crate::{
        e2e::settings::{Order, testing},
        run_folder::ProviderName,
    };

    fn tags() -> std::collections::BTreeMap<String, String> {
        [
            ("gateway".to_owned(), "aaa".to_owned()),
            ("datastorage".to_owned(), "bbb".to_owned()),
        ]
        .into()
    }

    #[test]
    fn own_manifests_and_configurations_render_on_both_providers() {
        for provider in [ProviderName::Kind, ProviderName::Local] {
            let settings = testing::settings(provider, Order::Graph);
            let tags = tags();
            let sources = settings.sources(&tags);
            let variables = sources.manifest_variables().unwrap();
            for (name, _) in settings.stack.manifests() {
                assert!(!sources.manifest(name, &variables).unwrap().is_empty(), "{name}");
            }
            for service in settings.stack.services.keys() {
                toml::from_str::<toml::Table>(&sources.config(service.get_ref(), &variables).unwrap())
                    .unwrap();
            }
        }
    }

    #[test]
    fn pods_use_service_names_as_addresses() {
        let settings = testing::settings(ProviderName::Kind, Order::Graph);
        let tags = tags();
        let variables = settings.sources(&tags).variables().unwrap();
        assert_eq!(variables["address"]["gateway"]["api"], "gateway-service:8080");
        assert_eq!(variables["address"]["gateway"]["health"], "gateway-service:8081");
        assert_eq!(variables["address"]["postgresql"]["sql"], "postgresql:5432");
        assert_eq!(variables["listen"]["gateway"]["api"], "0.0.0.0:8080");
        assert_eq!(variables["images"]["gateway"], "localhost/kubernaut-gateway:aaa");
        assert_eq!(variables["kubeconfig"], "");
    }

    #[test]
    fn processes_use_loopback_addresses_and_files_of_the_run() {
        let settings = testing::settings(ProviderName::Local, Order::Graph);
        let tags = tags();
        let variables = settings.sources(&tags).variables().unwrap();
        assert_eq!(variables["address"]["datastorage"]["api"], "127.0.0.1:18090");
        assert_eq!(variables["listen"]["gateway"]["api"], "127.0.0.1:18080");
        assert_eq!(variables["data"]["gateway"], "/target/e2e/run/data/gateway");
        assert_eq!(variables["kubeconfig"], "/target/e2e/run/kubeconfig");
    }

    #[test]
    fn checksum_changes_with_the_configuration() {
        let checksum = |change: bool| {
            let mut settings = testing::settings(ProviderName::Kind, Order::Graph);
            if change {
                settings.stack.stack.namespace = "elsewhere".to_owned();
            }
            let tags = tags();
            settings.sources(&tags).manifest_variables().unwrap()["checksums"]["gateway"].clone()
        };
        assert_eq!(checksum(false), checksum(false));
        assert_ne!(checksum(false), checksum(true));
    }
}
