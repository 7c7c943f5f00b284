//! Waits until a workload is ready, and tells early when it never will be.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path, time::Duration};

use serde_json::Value;

use super::{Did, Place, World, wait_until};
use crate::{command::Command, yaml};

/// How far a workload is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Not yet, in words, with the pod that is looked at.
    Waiting {
        state: String,
        pod: Option<String>,
    },
    /// Never, in words, with the pod that tells why.
    Failed {
        why: String,
        pod: Option<String>,
    },
}

/// Reasons of a waiting container that no more waiting changes: the images were loaded before.
const HOPELESS: [&str; 5] = [
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerError",
    "RunContainerError",
];

/// A container that ended this often does not get better by itself.
const MOST_RESTARTS: u64 = 3;

impl World<'_> {
    pub(super) fn ready(
        &self,
        place: &Place<'_>,
        entry: &str,
        get: &Command,
        logs: &Command,
        seconds: u64,
    ) -> anyhow::Result<Did> {
        let wanted = workloads(&self.settings.rendered(entry))?;
        let what = format!("{entry} is ready");
        let limit = Duration::from_secs(seconds);
        let mut last_pod = None;
        let result = wait_until(place.context, &what, limit, Duration::from_millis(500), || {
            let get = subprocess::Command::new(get.filled(str::to_owned)).name(format!("look at {entry}"));
            let output = get.deadline(Duration::from_secs(30)).capture(place.cancel)?;
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
                    State::Failed { why, pod } => {
                        last_pod = pod;
                        anyhow::bail!("{entry} does not get ready: {why}");
                    }
                }
            }
            Ok(if waiting.is_empty() {
                Ok(())
            } else {
                Err(waiting.join("; "))
            })
        });
        match result {
            Ok(()) => Ok(Did::Something),
            Err(error) => {
                let error = self.with_answer(entry, error);
                let error = self.with_probes(place, error, last_pod.as_deref());
                Err(self.with_logs(place, error, logs, last_pod.as_deref()))
            }
        }
    }

    /// The error with what the entry answers when it is asked whether it is ready, where it is reached from here. While
    /// pods are replaced it may be one of the earlier that answers, so that a good answer says nothing.
    fn with_answer(&self, entry: &str, error: anyhow::Error) -> anyhow::Error {
        let Some(url) = self.settings.url(entry, "health") else {
            return error;
        };
        match super::http::look(&format!("{url}/readyz")) {
            Ok((200, _)) | Err(_) => error,
            Ok((status, body)) => anyhow::anyhow!("{error:#}\n  its probe answers {status} {body}"),
        }
    }

    /// The error with what the node says of the probes of the pod that it is about.
    fn with_probes(&self, place: &Place<'_>, error: anyhow::Error, pod: Option<&str>) -> anyhow::Error {
        let Some(name) = pod.and_then(|pod| pod.strip_prefix("pod/")) else {
            return error;
        };
        let fields = format!("--field-selector=reason=Unhealthy,involvedObject.name={name}");
        let get = self
            .settings
            .kubectl_here()
            .args(["get", "events", "--output=json", &fields]);
        let get = subprocess::Command::new(get.filled(str::to_owned)).deadline(Duration::from_secs(15));
        let events = get.capture(place.cancel).ok();
        let events: Option<Value> = events.and_then(|output| serde_json::from_slice(&output.stdout).ok());
        let said: BTreeSet<&str> = events
            .iter()
            .filter_map(|events| events["items"].as_array())
            .flatten()
            .filter_map(|event| event["message"].as_str())
            .collect();
        let mut text = format!("{error:#}");
        for message in said {
            let _ = write!(text, "\n  the node says of pod {name}: {message}");
        }
        anyhow::anyhow!(text)
    }

    /// The error with the last lines of the pod that it is about.
    fn with_logs(
        &self,
        place: &Place<'_>,
        error: anyhow::Error,
        logs: &Command,
        pod: Option<&str>,
    ) -> anyhow::Error {
        let Some(pod) = pod else { return error };
        let command = logs.clone().args([pod]);
        let logs = subprocess::Command::new(command.filled(str::to_owned)).deadline(Duration::from_secs(15));
        let mut text = format!("{error:#}");
        match logs.capture(place.cancel) {
            Ok(output) if !output.stdout.is_empty() => {
                let _ = write!(text, "\n  the last lines of {pod}:");
                for line in output.text().lines() {
                    let _ = write!(text, "\n    {line}");
                }
            }
            _ => {
                let _ = write!(text, "\n  {pod} has printed nothing");
            }
        }
        anyhow::anyhow!(text)
    }
}

/// Kind and name of what a rendered manifest makes that gets ready.
fn workloads(manifest: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(manifest)?;
    let objects = yaml::objects(&manifest.display().to_string(), &text)?;
    let of_pods = objects
        .iter()
        .filter(|object| ["Deployment", "StatefulSet", "Job"].contains(&object.kind()));
    Ok(of_pods
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
            state: format!("{kind} {name} is not there"),
            pod: None,
        };
    };
    let waiting = |state| State::Waiting { state, pod: None };
    match conclusion(workload, kind, name) {
        // One that ends still answers, and would be taken for the new one.
        Some(State::Ready) if kind != "Job" => match ending_pod(items, workload) {
            Some(pod) => return waiting(format!("pod {pod} of before the change is still ending")),
            None => return State::Ready,
        },
        Some(done) => return done,
        None => {}
    }
    if number(&workload["status"]["observedGeneration"]) < number(&workload["metadata"]["generation"]) {
        // Its pods are still those of before the change.
        return waiting(format!("{kind} {name}: its change was not seen yet"));
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

/// The pods that a workload wants now. Those of before a change may fail while they go: that says nothing of it.
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

/// The name of a pod of the workload that was told to end and has not yet.
fn ending_pod<'a>(items: &'a [Value], workload: &Value) -> Option<&'a str> {
    let selector = &workload["spec"]["selector"]["matchLabels"];
    let mut pods = items.iter().filter(|item| item["kind"] == "Pod");
    let pod = pods.find(|pod| {
        let metadata = &pod["metadata"];
        selects(selector, &metadata["labels"]) && !metadata["deletionTimestamp"].is_null()
    })?;
    pod["metadata"]["name"].as_str()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Whether the workload's own status decides.
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
        let why = format!("Job {name} failed");
        return has("Failed").then(|| State::Failed {
            why,
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
        let reason = waiting["reason"].as_str().unwrap_or_default();
        let message = waiting["message"].as_str().unwrap_or_default();
        let container_name = container["name"].as_str().unwrap_or_default();
        let restarts = container["restartCount"].as_u64().unwrap_or(0);
        if HOPELESS.contains(&reason) || restarts >= MOST_RESTARTS {
            let ended = &container["lastState"]["terminated"];
            let limit = memory_limit(pod, container_name);
            let ended = match limit.filter(|_| ended["reason"] == "OOMKilled") {
                Some(limit) => format!(", it ended with {ended}; its memory limit is {limit}"),
                None if ended.is_null() => String::new(),
                None => format!(", it ended with {ended}"),
            };
            let again = match restarts {
                0 => String::new(),
                times => format!(" ended by itself {times} times{ended}"),
            };
            let now = format!("{reason} {message}");
            let now = match now.trim() {
                "" => String::new(),
                now => format!(": {now}"),
            };
            let why = format!("container {container_name} of pod {name}{again}{now}");
            return State::Failed {
                why,
                pod: Some(format!("pod/{name}")),
            };
        }
        if !reason.is_empty() && reason != "ContainerCreating" {
            return State::Waiting {
                state: format!("pod {name}: {reason} {message}"),
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
