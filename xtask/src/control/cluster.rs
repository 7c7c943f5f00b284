//! Control of pods: by their workloads with kubectl; SIGKILL by the node's container runtime.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::bail;
use serde_json::Value;
use subprocess::{Cancel, Record};

use super::{Verb, wait};
use crate::{
    ports::Kept,
    run_folder::{ProviderName, RunFolder},
    workload::{GRACE, KUBERNETES, record_name, workload_of},
    yaml::Object,
};

/// Maximum time of a change: pods have 40 s to stop, and databases take time to start.
const CHANGE_LIMIT: Duration = Duration::from_secs(180);

/// Manifest of the API server, a static pod of the node's kubelet, and its path while the API server is stopped.
const API_SERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const API_SERVER_DISABLED: &str = "/etc/kubernetes/kube-apiserver.yaml";

pub(super) fn control(folder: &RunFolder, verb: Verb, name: &str) -> anyhow::Result<()> {
    if name == KUBERNETES && folder.owner().provider == ProviderName::Cluster {
        bail!(
            "cannot control the API server of run {}: its cluster is shared",
            folder.run()
        );
    }
    if name == KUBERNETES {
        return api_server(folder, verb);
    }
    let workload = Workload::find(folder, name)?;
    workload.change(verb)?;
    if folder.owner().provider == ProviderName::Cluster {
        forward_again(folder, verb, name)?;
    }
    match verb {
        Verb::Start | Verb::Restart => wait_reachable(folder, name),
        Verb::Stop | Verb::Kill | Verb::Logs => Ok(()),
    }
}

/// Connections in a row that reach a pod on each port: the rules of kube-proxy change up to a second after the pods, and
/// with a rule too many half of the connections go to a pod that is gone.
const IN_A_ROW: usize = 12;

/// Waits until every new connection from this machine reaches one of the present pods.
fn wait_reachable(folder: &RunFolder, name: &str) -> anyhow::Result<()> {
    let ports = ports_of(folder, name)?;
    let mut reached = 0;
    let what = format!("{IN_A_ROW} connections in a row reach {name} on each port of 127.0.0.1");
    wait(&what, CHANGE_LIMIT, || {
        let failed = ports.iter().find_map(|(port, number)| {
            let answer = answer(port, *number);
            answer.err().map(|error| format!("{number} ({port}): {error}"))
        });
        reached = if failed.is_none() { reached + 1 } else { 0 };
        Ok(failed.or_else(|| (reached < IN_A_ROW).then(|| format!("{reached} in a row"))))
    })
}

/// Connects to a port; a port named `health` has to respond that the service is ready.
fn answer(port: &str, number: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
    let mut connection = TcpStream::connect_timeout(&address, ANSWER)?;
    if port != "health" {
        return Ok(());
    }
    connection.set_read_timeout(Some(ANSWER))?;
    connection.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    let status = response.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("/readyz responds {status:?}"))),
    }
}

/// Maximum time of one connection and its response.
const ANSWER: Duration = Duration::from_secs(3);

/// Returns names and numbers of an entry's ports on this machine.
fn ports_of(folder: &RunFolder, name: &str) -> anyhow::Result<Vec<(String, u16)>> {
    let kept: Kept = serde_json::from_slice(&fs::read(folder.path().join("ports.json"))?)?;
    let ports = kept.ports.get(name).into_iter().flatten();
    Ok(ports
        .map(|(port, assigned)| (port.clone(), assigned.host))
        .collect())
}

/// Restarts the port forwarding to a workload, for its new pods.
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
    let ports: Vec<u16> = ports_of(folder, name)?
        .into_iter()
        .map(|(_, port)| port)
        .collect();
    wait(
        &format!("{name} accepts connections on ports {ports:?} of 127.0.0.1"),
        CHANGE_LIMIT,
        || {
            if !new.is_alive() {
                bail!("the port forwarding to {name} has ended");
            }
            let closed = ports
                .iter()
                .find_map(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).err());
            Ok(closed.map(|error| error.to_string()))
        },
    )
}

impl Workload<'_> {
    fn change(&self, verb: Verb) -> anyhow::Result<()> {
        let workload = self;
        match verb {
            Verb::Stop => workload.stop(),
            Verb::Start => workload.start(),
            Verb::Restart => {
                workload.kubectl(&["rollout", "restart", &workload.workload.reference()])?;
                workload.wait_ready()?;
                workload.wait_replaced()
            }
            Verb::Kill => workload.kill(),
            Verb::Logs => {
                let selector = workload.selector();
                let text = workload.kubectl(&["logs", "--all-containers", "--tail=-1", &selector])?;
                std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())?;
                Ok(())
            }
        }
    }
}

/// A Deployment or StatefulSet of the stack.
struct Workload<'a> {
    folder: &'a RunFolder,
    workload: Object,
}

impl<'a> Workload<'a> {
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
            &format!("all pods of {} are gone", self.workload.name()),
            CHANGE_LIMIT,
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
        let timeout = format!("--timeout={}s", CHANGE_LIMIT.as_secs());
        self.kubectl(&["rollout", "status", &timeout, &self.workload.reference()])?;
        Ok(())
    }

    /// Waits until the replaced pods are gone. A rollout is complete while they still terminate, keep connections open
    /// and reject requests.
    fn wait_replaced(&self) -> anyhow::Result<()> {
        wait(
            &format!("the replaced pods of {} are gone", self.workload.name()),
            CHANGE_LIMIT,
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

    /// Sends SIGKILL to the containers' first processes, like the kernel's OOM killer. The node does so, because no process
    /// inside a container can kill the first one.
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
            bail!("{} has no running container", self.workload.name());
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

/// Controls the API server of a kind node. It is a static pod: moving its manifest elsewhere stops it.
fn api_server(folder: &RunFolder, verb: Verb) -> anyhow::Result<()> {
    let ready = || kubectl(folder, &["get", "--raw=/readyz", "--request-timeout=2s"]);
    let wait_stopped = || {
        wait("the API server is unavailable", CHANGE_LIMIT, || {
            Ok(ready().is_ok().then(|| "ready".to_owned()))
        })
    };
    let wait_ready = || {
        wait("the API server is ready", CHANGE_LIMIT, || {
            Ok(ready().err().map(|error| error.to_string()))
        })
    };
    match verb {
        Verb::Stop => {
            node(folder, &["mv", API_SERVER, API_SERVER_DISABLED])?;
            wait_stopped()
        }
        Verb::Start => {
            node(folder, &["mv", API_SERVER_DISABLED, API_SERVER])?;
            wait_ready()
        }
        Verb::Kill => {
            node(folder, &["pkill", "-KILL", "-x", "kube-apiserver"])?;
            Ok(())
        }
        Verb::Restart => {
            node(folder, &["pkill", "-TERM", "-x", "kube-apiserver"])?;
            wait_stopped()?;
            wait_ready()
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
        bail!("run {} has no own cluster", folder.run())
    };
    let mut command = std::process::Command::new("podman");
    command
        .args(["exec", &format!("{cluster}-control-plane")])
        .args(arguments);
    captured(command)
}

fn captured(command: std::process::Command) -> anyhow::Result<String> {
    let command = subprocess::Command::new(command).deadline(CHANGE_LIMIT + Duration::from_secs(20));
    Ok(command.capture(&Cancel::never())?.text())
}
