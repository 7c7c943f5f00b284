//! Where the parts are pods: by their workloads, with kubectl; SIGKILL by the node's container runtime.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use anyhow::bail;
use serde_json::Value;
use subprocess::{Cancel, Record};

use super::{Verb, wait};
use crate::{
    parts::{GRACE, KUBERNETES, record_name, workload_of},
    ports::Kept,
    run_folder::{ProviderName, RunFolder},
    yaml::Object,
};

/// A pod is given 40 s to end in order, and a database some time to start.
const LONGEST_CHANGE: Duration = Duration::from_secs(180);

/// Where the node's kubelet finds the API server, and where it is put to be away.
const API_SERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const API_SERVER_AWAY: &str = "/etc/kubernetes/kube-apiserver.yaml";

pub(super) fn control(folder: &RunFolder, verb: Verb, name: &str) -> anyhow::Result<()> {
    if name == KUBERNETES && folder.owner().provider == ProviderName::Cluster {
        bail!(
            "the cluster of run {} is not its own: its API server is left alone",
            folder.run()
        );
    }
    if name == KUBERNETES {
        return api_server(folder, verb);
    }
    let part = Part::find(folder, name)?;
    part.change(verb)?;
    if folder.owner().provider == ProviderName::Cluster {
        forward_again(folder, verb, name)?;
    }
    Ok(())
}

/// After its pods were replaced a part is reached through what holds on to the new ones.
fn forward_again(folder: &RunFolder, verb: Verb, name: &str) -> anyhow::Result<()> {
    let path = folder.process(&record_name(name));
    if matches!(verb, Verb::Stop | Verb::Logs) || !path.exists() {
        return Ok(());
    }
    let old = Record::read(&path)?;
    old.stop(GRACE)?;
    let new = old.start(&path)?;
    if verb == Verb::Kill {
        return Ok(());
    }
    let kept: Kept = serde_json::from_slice(&fs::read(folder.path().join("ports.json"))?)?;
    let ports: Vec<u16> = kept
        .ports
        .get(name)
        .into_iter()
        .flat_map(|ports| ports.values())
        .map(|port| port.host)
        .collect();
    wait(
        &format!("{name} is reached on {ports:?} of 127.0.0.1"),
        LONGEST_CHANGE,
        || {
            if !new.is_alive() {
                bail!("what brings the ports of {name} here has ended");
            }
            let deaf = ports
                .iter()
                .find_map(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).err());
            Ok(deaf.map(|error| error.to_string()))
        },
    )
}

impl Part<'_> {
    fn change(&self, verb: Verb) -> anyhow::Result<()> {
        let part = self;
        match verb {
            Verb::Stop => part.stop(),
            Verb::Start => part.start(),
            Verb::Restart => {
                part.kubectl(&["rollout", "restart", &part.workload.reference()])?;
                part.wait_ready()?;
                part.wait_replaced()
            }
            Verb::Kill => part.kill(),
            Verb::Logs => {
                let selector = part.selector();
                let text = part.kubectl(&["logs", "--all-containers", "--tail=-1", &selector])?;
                std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
                Ok(())
            }
        }
    }
}

/// A part of the stack in a cluster.
struct Part<'a> {
    folder: &'a RunFolder,
    workload: Object,
}

impl<'a> Part<'a> {
    fn find(folder: &'a RunFolder, name: &str) -> anyhow::Result<Self> {
        let workload = workload_of(folder, name)?;
        Ok(Self { folder, workload })
    }

    fn namespace(&self) -> &str {
        self.workload
            .0
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .unwrap_or("default")
    }

    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        kubectl(
            self.folder,
            &[&["--namespace", self.namespace()], arguments].concat(),
        )
    }

    fn selector(&self) -> String {
        let labels = self
            .workload
            .0
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object);
        let pairs = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        format!("--selector={}", pairs.collect::<Vec<_>>().join(","))
    }

    fn pods(&self) -> anyhow::Result<Vec<Value>> {
        let text = self.kubectl(&["get", "pods", "--output=json", &self.selector()])?;
        let list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    fn stop(&self) -> anyhow::Result<()> {
        self.kubectl(&["scale", "--replicas=0", &self.workload.reference()])?;
        wait(
            &format!("no pod of {} is left", self.workload.name()),
            LONGEST_CHANGE,
            || {
                let pods = self.pods()?;
                let names: Vec<&str> = pods
                    .iter()
                    .filter_map(|pod| pod["metadata"]["name"].as_str())
                    .collect();
                Ok((!names.is_empty()).then(|| names.join(", ")))
            },
        )
    }

    fn start(&self) -> anyhow::Result<()> {
        let replicas = self
            .workload
            .0
            .pointer("/spec/replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1);
        self.kubectl(&[
            "scale",
            &format!("--replicas={replicas}"),
            &self.workload.reference(),
        ])?;
        self.wait_ready()
    }

    fn wait_ready(&self) -> anyhow::Result<()> {
        let timeout = format!("--timeout={}s", LONGEST_CHANGE.as_secs());
        self.kubectl(&["rollout", "status", &timeout, &self.workload.reference()])?;
        Ok(())
    }

    /// A rollout counts as done while the pods that it replaced still end in order: until they are gone they hold on
    /// to open connections, and answer that they are stopping.
    fn wait_replaced(&self) -> anyhow::Result<()> {
        wait(
            &format!("the replaced pods of {} are gone", self.workload.name()),
            LONGEST_CHANGE,
            || {
                let pods = self.pods()?;
                let names: Vec<&str> = pods
                    .iter()
                    .filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
                    .filter_map(|pod| pod["metadata"]["name"].as_str())
                    .collect();
                Ok((!names.is_empty()).then(|| names.join(", ")))
            },
        )
    }

    /// SIGKILL to the containers' first processes, as the kernel does when memory is short. From inside of a
    /// container nothing can kill its first process, so the node does it.
    fn kill(&self) -> anyhow::Result<()> {
        if self.folder.owner().provider == ProviderName::Cluster {
            self.kubectl(&["delete", "pods", "--grace-period=0", "--force", &self.selector()])?;
            return Ok(());
        }
        let pods = self.pods()?;
        let statuses = pods
            .iter()
            .filter_map(|pod| pod["status"]["containerStatuses"].as_array())
            .flatten();
        let ids: Vec<&str> = statuses
            .filter(|status| !status["state"]["running"].is_null())
            .filter_map(|status| status["containerID"].as_str()?.split("://").nth(1))
            .collect();
        if ids.is_empty() {
            bail!("no container of {} runs", self.workload.name());
        }
        for id in ids {
            node(
                self.folder,
                &[
                    "ctr",
                    "--namespace=k8s.io",
                    "tasks",
                    "kill",
                    "--signal=SIGKILL",
                    id,
                ],
            )?;
        }
        Ok(())
    }
}

/// The API server of a kind node is a static pod: it goes away with its file, and comes back with it.
fn api_server(folder: &RunFolder, verb: Verb) -> anyhow::Result<()> {
    let ready = || kubectl(folder, &["get", "--raw=/readyz", "--request-timeout=2s"]);
    let gone = || {
        wait("the API server is away", LONGEST_CHANGE, || {
            Ok(ready().is_ok().then(|| "it answers".to_owned()))
        })
    };
    let back = || {
        wait("the API server answers", LONGEST_CHANGE, || {
            Ok(ready().err().map(|error| error.to_string()))
        })
    };
    match verb {
        Verb::Stop => {
            node(folder, &["mv", API_SERVER, API_SERVER_AWAY])?;
            gone()
        }
        Verb::Start => {
            node(folder, &["mv", API_SERVER_AWAY, API_SERVER])?;
            back()
        }
        Verb::Kill => {
            node(folder, &["pkill", "-KILL", "-x", "kube-apiserver"])?;
            Ok(())
        }
        Verb::Restart => {
            node(folder, &["pkill", "-TERM", "-x", "kube-apiserver"])?;
            gone()?;
            back()
        }
        Verb::Logs => {
            let selector = "--selector=component=kube-apiserver";
            let text = kubectl(
                folder,
                &["--namespace=kube-system", "logs", "--tail=-1", selector],
            )?;
            std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
            Ok(())
        }
    }
}

fn kubectl(folder: &RunFolder, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = std::process::Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(folder.kubeconfig())
        .args(arguments);
    captured(command)
}

fn node(folder: &RunFolder, arguments: &[&str]) -> anyhow::Result<String> {
    let Some(cluster) = &folder.owner().cluster else {
        bail!("run {} has no cluster of its own", folder.run())
    };
    let mut command = std::process::Command::new("podman");
    command
        .args(["exec", &format!("{cluster}-control-plane")])
        .args(arguments);
    captured(command)
}

fn captured(command: std::process::Command) -> anyhow::Result<String> {
    let command = subprocess::Command::new(command).deadline(LONGEST_CHANGE + Duration::from_secs(20));
    Ok(command.capture(&Cancel::never())?.text())
}
