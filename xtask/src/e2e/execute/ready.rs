//! Waits until a workload is ready, and tells early when it never will be.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use serde_json::Value;

use super::{Did, Place, World, wait_until};
use crate::e2e::{plan::Command, yaml};

/// How far a workload is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Ready,
    /// Not yet, in words.
    Waiting(String),
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
                    State::Waiting(state) => waiting.push(state),
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
            Err(error) => Err(self.with_logs(place, error, logs, last_pod.as_deref())),
        }
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
        return State::Waiting(format!("{kind} {name} is not there"));
    };
    if let Some(done) = conclusion(workload, kind, name) {
        return done;
    }
    let selector = &workload["spec"]["selector"]["matchLabels"];
    let pods = items
        .iter()
        .filter(|item| item["kind"] == "Pod" && selects(selector, &item["metadata"]["labels"]));
    let mut waiting = Vec::new();
    for pod in pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        match pod_state(pod) {
            State::Waiting(state) => waiting.push(state),
            State::Ready => {}
            failed => return failed,
        }
    }
    if waiting.is_empty() {
        waiting.push(format!("{kind} {name} has no pod yet"));
    }
    State::Waiting(waiting.join("; "))
}

/// Whether the workload's own status decides.
fn conclusion(workload: &Value, kind: &str, name: &str) -> Option<State> {
    let status = &workload["status"];
    let number = |field: &str| status[field].as_u64().unwrap_or(0);
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
    let seen = number("observedGeneration") >= workload["metadata"]["generation"].as_u64().unwrap_or(0);
    let current = number("updatedReplicas") == wanted && number("replicas") == wanted;
    (seen && current && number("readyReplicas") == wanted).then_some(State::Ready)
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
            let ended = if ended.is_null() {
                String::new()
            } else {
                format!(", it ended with {ended}")
            };
            let why = format!(
                "container {container_name} of pod {name}: {reason} {message} ({restarts} restarts{ended})"
            );
            return State::Failed {
                why,
                pod: Some(format!("pod/{name}")),
            };
        }
        if !reason.is_empty() && reason != "ContainerCreating" {
            return State::Waiting(format!("pod {name}: {reason} {message}"));
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
    State::Waiting(format!("pod {name} is {phase}{}", detail.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(items: Vec<Value>) -> Value {
        json!({"items": items})
    }

    fn deployment(updated: u64, replicas: u64, ready: u64, observed: u64) -> Value {
        json!({
            "kind": "Deployment", "metadata": {"name": "gateway", "generation": 2},
            "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "gateway"}}},
            "status": {"observedGeneration": observed, "updatedReplicas": updated, "replicas": replicas, "readyReplicas": ready},
        })
    }

    fn pod(status: Value) -> Value {
        json!({"kind": "Pod", "metadata": {"name": "gateway-1", "labels": {"app": "gateway"}}, "status": status})
    }

    #[test]
    fn a_deployment_is_ready_only_when_its_newest_pods_alone_are() {
        let of = |updated, replicas, ready, observed| {
            state(
                &list(vec![deployment(updated, replicas, ready, observed)]),
                "Deployment",
                "gateway",
            )
        };
        assert_eq!(of(1, 1, 1, 2), State::Ready);
        assert!(
            matches!(of(1, 1, 1, 1), State::Waiting(_)),
            "its change was not seen yet"
        );
        assert!(
            matches!(of(1, 2, 2, 2), State::Waiting(_)),
            "an old pod is still there"
        );
        assert!(
            matches!(of(0, 1, 1, 2), State::Waiting(_)),
            "only the old pod is ready"
        );
        assert!(matches!(of(1, 1, 0, 2), State::Waiting(_)));
    }

    #[test]
    fn an_image_that_is_not_there_ends_the_wait_with_the_pod_and_the_reason() {
        let waiting = json!({"containerStatuses": [{"name": "gateway", "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "image x is not present"}}}]});
        let State::Failed { why, pod } = state(
            &list(vec![deployment(1, 1, 0, 2), pod(waiting)]),
            "Deployment",
            "gateway",
        ) else {
            panic!("must fail");
        };
        assert!(why.contains("ErrImageNeverPull image x is not present"), "{why}");
        assert_eq!(pod.as_deref(), Some("pod/gateway-1"));
    }

    #[test]
    fn a_first_restart_is_waited_for_and_a_loop_is_not() {
        let restarted = |count: u64| {
            let status = json!({"containerStatuses": [{"name": "gateway", "restartCount": count,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
            state(
                &list(vec![deployment(1, 1, 0, 2), pod(status)]),
                "Deployment",
                "gateway",
            )
        };
        assert!(matches!(restarted(1), State::Waiting(_)));
        assert!(matches!(restarted(3), State::Failed { .. }));
    }

    #[test]
    fn a_job_says_itself_how_it_ended() {
        let job = |condition: &str| {
            let job = json!({"kind": "Job", "metadata": {"name": "migrate"},
                "status": {"conditions": [{"type": condition, "status": "True"}]}});
            state(&list(vec![job]), "Job", "migrate")
        };
        assert_eq!(job("Complete"), State::Ready);
        assert!(matches!(job("Failed"), State::Failed { pod: Some(pod), .. } if pod == "job/migrate"));
        assert!(matches!(job("FailureTarget"), State::Waiting(_)));
    }

    #[test]
    fn what_is_waited_for_is_said_in_the_clusters_words() {
        let status = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]});
        let waiting = state(
            &list(vec![deployment(1, 1, 0, 2), pod(status)]),
            "Deployment",
            "gateway",
        );
        assert_eq!(
            waiting,
            State::Waiting("pod gateway-1 is Pending: 0/1 nodes are available".to_owned())
        );
    }
}
