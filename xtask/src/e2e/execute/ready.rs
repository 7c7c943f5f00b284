//! Waits until a workload is ready, and fails early if it cannot become ready.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, time::Duration};

use serde_json::Value;

use super::{RunContext, StepContext, wait_until};
use crate::{command::Command, yaml};

/// State of a workload.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Not ready yet, with the pod that it waits for.
    Waiting {
        state: String,
        pod: Option<String>,
    },
    /// Cannot become ready, with the pod whose logs show why.
    Failed {
        reason: String,
        pod: Option<String>,
    },
}

/// Reasons of a waiting container that are permanent: the images were loaded before.
const PERMANENT: [&str; 5] = [
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerError",
    "RunContainerError",
];

/// Number of restarts at which a container counts as failed.
const MAX_RESTARTS: u64 = 3;

/// Maximum duration of a `kubectl` command that adds to an error.
const DIAGNOSIS: Duration = Duration::from_secs(15);

impl RunContext<'_> {
    pub(super) fn wait_workload(
        &self,
        step: &StepContext<'_>,
        entry: &str,
        get: &Command,
        logs: &Command,
    ) -> anyhow::Result<()> {
        let wanted = workloads(&self.settings.rendered(entry))?;
        let what = format!("{entry} to be ready");
        let mut last_pod = None;
        let waited = wait_until(step, &what, Duration::from_millis(500), || {
            let get = subprocess::Command::new(get.filled(str::to_owned)).name(format!("get {entry}"));
            let output = get.deadline(Duration::from_secs(30)).capture(step.cancel)?;
            let objects: Value = serde_json::from_slice(&output.stdout)?;
            let states = wanted.iter().map(|(kind, name)| state(&objects, kind, name));
            let mut waiting = Vec::new();
            for state in states {
                match state {
                    State::Ready => {}
                    State::Waiting { state, pod } => {
                        last_pod = pod;
                        waiting.push(state);
                    }
                    State::Failed { reason, pod } => {
                        last_pod = pod;
                        anyhow::bail!("{entry} cannot become ready: {reason}");
                    }
                }
            }
            Ok(if waiting.is_empty() {
                for (kind, name) in &wanted {
                    let restarts = restarts(&objects, kind, name);
                    restarts.into_iter().for_each(|restart| step.task.note(restart));
                }
                Ok(())
            } else {
                Err(waiting.join("; "))
            })
        });
        waited.map_err(|error| {
            let mut text = format!("{error:#}");
            text.extend(self.probe_response(entry));
            if let Some(pod) = &last_pod {
                text.extend(self.probe_events(step, pod));
                text.push_str(&last_lines(step, logs, pod));
            }
            anyhow::anyhow!(text)
        })
    }

    /// Returns the response of the entry's readiness endpoint, where it is reachable from this machine. While pods are
    /// replaced an earlier pod may respond, so that a 200 means nothing.
    fn probe_response(&self, entry: &str) -> Option<String> {
        let url = self.settings.url(entry, "health")?;
        match super::http::get(&format!("{url}/readyz")) {
            Ok((200, _)) | Err(_) => None,
            Ok((status, body)) => Some(format!("\n  its readiness endpoint returns {status} {body}")),
        }
    }

    /// Returns the node's events about failed probes of a pod.
    fn probe_events(&self, step: &StepContext<'_>, pod: &str) -> Option<String> {
        let name = pod.strip_prefix("pod/")?;
        let fields = format!("--field-selector=reason=Unhealthy,involvedObject.name={name}");
        let get = self
            .settings
            .kubectl_here()
            .args(["get", "events", "--output=json", &fields]);
        let get = subprocess::Command::new(get.filled(str::to_owned)).deadline(DIAGNOSIS);
        let events = get.capture(step.cancel).ok()?;
        let events: Value = serde_json::from_slice(&events.stdout).ok()?;
        let items = events["items"].as_array()?.iter();
        let messages: BTreeSet<&str> = items.filter_map(|event| event["message"].as_str()).collect();
        Some(messages.into_iter().fold(String::new(), |mut text, message| {
            let _ = write!(text, "\n  event of pod {name}: {message}");
            text
        }))
    }
}

/// Returns the last lines of a pod.
fn last_lines(step: &StepContext<'_>, logs: &Command, pod: &str) -> String {
    let command = logs.clone().args([pod]);
    let logs = subprocess::Command::new(command.filled(str::to_owned)).deadline(DIAGNOSIS);
    match logs.capture(step.cancel) {
        Ok(output) if !output.stdout.is_empty() => {
            let lines = output.text().trim_end().replace('\n', "\n    ");
            format!("\n  last lines of {pod}:\n    {lines}")
        }
        _ => format!("\n  {pod} has no output"),
    }
}

/// Returns kind and name of each workload of a rendered manifest.
fn workloads(manifest: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(manifest)?;
    let objects = yaml::objects(&manifest.display().to_string(), &text)?;
    let workloads = objects
        .iter()
        .filter(|object| ["Deployment", "StatefulSet", "Job"].contains(&object.kind()));
    Ok(workloads
        .map(|object| (object.kind().to_owned(), object.name().to_owned()))
        .collect())
}

fn state(objects: &Value, kind: &str, name: &str) -> State {
    let items = objects["items"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(workload) = items
        .iter()
        .find(|item| item["kind"] == kind && item["metadata"]["name"] == name)
    else {
        return State::Waiting {
            state: format!("{kind} {name} does not exist"),
            pod: None,
        };
    };
    let waiting = |state| State::Waiting { state, pod: None };
    match conclusion(workload, kind, name) {
        // A terminating pod still responds, and would count as the new one.
        Some(State::Ready) if kind != "Job" => match terminating_pod(items, workload) {
            Some(pod) => return waiting(format!("previous pod {pod} is still terminating")),
            None => return State::Ready,
        },
        Some(done) => return done,
        None => {}
    }
    if number(&workload["status"]["observedGeneration"]) < number(&workload["metadata"]["generation"]) {
        // Its pods are still the previous ones.
        return waiting(format!("{kind} {name}: its change has not been observed yet"));
    }
    let mut states = Vec::new();
    let mut looked_at = None;
    for pod in newest_pods(items, workload, kind) {
        match pod_state(pod) {
            State::Waiting { state, pod } => {
                looked_at = looked_at.or(pod);
                states.push(state);
            }
            State::Ready => {}
            failed => return failed,
        }
    }
    if states.is_empty() {
        return waiting(format!("{kind} {name} has no pod yet"));
    }
    State::Waiting {
        state: states.join("; "),
        pod: looked_at,
    }
}

/// Returns the current pods of a workload. Previous pods may fail while they terminate, which is no failure of the
/// workload.
fn newest_pods<'a>(items: &'a [Value], workload: &'a Value, kind: &str) -> impl Iterator<Item = &'a Value> {
    const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";
    let selector = &workload["spec"]["selector"]["matchLabels"];
    let newest = match kind {
        "StatefulSet" => workload["status"]["updateRevision"]
            .as_str()
            .map(|revision| ("controller-revision-hash", revision)),
        "Deployment" => {
            let owned = |item: &&Value| {
                item["kind"] == "ReplicaSet"
                    && item["metadata"]["ownerReferences"][0]["name"] == workload["metadata"]["name"]
                    && item.pointer(REVISION).is_some()
                    && item.pointer(REVISION) == workload.pointer(REVISION)
            };
            let set = items.iter().find(owned);
            set.and_then(|set| set["metadata"]["labels"]["pod-template-hash"].as_str())
                .map(|hash| ("pod-template-hash", hash))
        }
        _ => None,
    };
    items.iter().filter(move |item| {
        let labels = &item["metadata"]["labels"];
        item["kind"] == "Pod"
            && selects(selector, labels)
            && item["metadata"]["deletionTimestamp"].is_null()
            && newest.is_none_or(|(label, value)| labels[label] == value)
    })
}

/// Returns the name of a terminating pod of the workload.
fn terminating_pod<'a>(items: &'a [Value], workload: &Value) -> Option<&'a str> {
    let selector = &workload["spec"]["selector"]["matchLabels"];
    let mut pods = items.iter().filter(|item| item["kind"] == "Pod");
    let pod = pods.find(|pod| {
        let metadata = &pod["metadata"];
        selects(selector, &metadata["labels"]) && !metadata["deletionTimestamp"].is_null()
    })?;
    pod["metadata"]["name"].as_str()
}

/// Describes what a workload's pods needed more than one attempt for, although it is ready now.
fn restarts(objects: &Value, kind: &str, name: &str) -> Vec<String> {
    let items = objects["items"].as_array().map_or(&[][..], Vec::as_slice);
    let mut workloads = items.iter();
    let Some(workload) = workloads.find(|item| item["kind"] == kind && item["metadata"]["name"] == name)
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for pod in newest_pods(items, workload, kind) {
        let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let containers = pod["status"]["containerStatuses"].as_array();
        for container in containers.into_iter().flatten() {
            let ended = |state: &Value| {
                let code = number(&state["terminated"]["exitCode"]);
                format!(
                    "exit code {code} ({})",
                    state["terminated"]["reason"].as_str().unwrap_or("no reason")
                )
            };
            let container_name = container["name"].as_str().unwrap_or_default();
            match number(&container["restartCount"]) {
                0 if pod["status"]["phase"] == "Failed" => {
                    found.push(format!("pod {pod_name} failed with {}", ended(&container["state"])));
                }
                0 => {}
                times => found.push(format!(
                    "container {container_name} of pod {pod_name} was restarted, count {times}, last after {}",
                    ended(&container["lastState"])
                )),
            }
        }
    }
    found
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Returns the state if the workload's own status determines it.
fn conclusion(workload: &Value, kind: &str, name: &str) -> Option<State> {
    let status = &workload["status"];
    let of = |field: &str| number(&status[field]);
    if kind == "Job" {
        let has = |kind: &str| {
            let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            conditions
                .iter()
                .any(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        if has("Complete") {
            return Some(State::Ready);
        }
        let reason = format!("Job {name} failed");
        return has("Failed").then(|| State::Failed {
            reason,
            pod: Some(format!("job/{name}")),
        });
    }
    let wanted = workload["spec"]["replicas"].as_u64().unwrap_or(1);
    let seen = of("observedGeneration") >= number(&workload["metadata"]["generation"]);
    let current = of("updatedReplicas") == wanted && of("replicas") == wanted;
    (seen && current && of("readyReplicas") == wanted).then_some(State::Ready)
}

fn selects(selector: &Value, labels: &Value) -> bool {
    selector
        .as_object()
        .is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value))
}

fn pod_state(pod: &Value) -> State {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let containers = statuses
        .iter()
        .filter_map(|field| pod["status"][field].as_array())
        .flatten();
    for container in containers {
        let waiting = &container["state"]["waiting"];
        let waiting_for = waiting["reason"].as_str().unwrap_or_default();
        let message = waiting["message"].as_str().unwrap_or_default();
        let container_name = container["name"].as_str().unwrap_or_default();
        let restarts = container["restartCount"].as_u64().unwrap_or(0);
        if PERMANENT.contains(&waiting_for) || restarts >= MAX_RESTARTS {
            let ended = &container["lastState"]["terminated"];
            let limit = memory_limit(pod, container_name);
            let ended = match limit.filter(|_| ended["reason"] == "OOMKilled") {
                Some(limit) => format!(", last with {ended}; its memory limit is {limit}"),
                None if ended.is_null() => String::new(),
                None => format!(", last with {ended}"),
            };
            let again = match restarts {
                0 => String::new(),
                times => format!(" exited unexpectedly {times} times{ended}"),
            };
            let now = format!("{waiting_for} {message}");
            let now = match now.trim() {
                "" => String::new(),
                now => format!(": {now}"),
            };
            let reason = format!("container {container_name} of pod {name}{again}{now}");
            return State::Failed {
                reason,
                pod: Some(format!("pod/{name}")),
            };
        }
        if !waiting_for.is_empty() && waiting_for != "ContainerCreating" {
            return State::Waiting {
                state: format!("pod {name}: {waiting_for} {message}"),
                pod: Some(format!("pod/{name}")),
            };
        }
    }
    let conditions = pod["status"]["conditions"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let unmet = conditions
        .iter()
        .find(|condition| condition["status"] == "False" && !condition["message"].is_null());
    let phase = pod["status"]["phase"].as_str().unwrap_or("unknown");
    let detail = unmet
        .and_then(|condition| condition["message"].as_str())
        .map(|text| format!(": {text}"));
    State::Waiting {
        state: format!("pod {name} is {phase}{}", detail.unwrap_or_default()),
        pod: Some(format!("pod/{name}")),
    }
}

fn memory_limit<'a>(pod: &'a Value, container: &str) -> Option<&'a str> {
    let containers = pod["spec"]["containers"].as_array()?;
    let one = containers.iter().find(|one| one["name"] == container)?;
    one["resources"]["limits"]["memory"].as_str()
}

#[cfg(test)]
mod tests;
