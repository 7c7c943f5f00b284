//! States of workloads, from their objects in the cluster.

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
fn deployment_is_ready_only_if_all_of_its_pods_are_current() {
    let of = |updated, replicas, ready, observed| {
        state(
            &list(vec![deployment(updated, replicas, ready, observed)]),
            "Deployment",
            "gateway",
        )
    };
    assert_eq!(of(1, 1, 1, 2), State::Ready);
    assert!(
        matches!(of(1, 1, 1, 1), State::Waiting { .. }),
        "its change has not been observed"
    );
    assert!(
        matches!(of(1, 2, 2, 2), State::Waiting { .. }),
        "a previous pod is still running"
    );
    assert!(
        matches!(of(0, 1, 1, 2), State::Waiting { .. }),
        "only the previous pod is ready"
    );
    assert!(matches!(of(1, 1, 0, 2), State::Waiting { .. }));
}

#[test]
fn missing_image_fails_with_pod_and_reason() {
    let waiting = json!({"containerStatuses": [{"name": "gateway", "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "image x is not present"}}}]});
    let State::Failed { reason, pod } = state(
        &list(vec![deployment(1, 1, 0, 2), pod(waiting)]),
        "Deployment",
        "gateway",
    ) else {
        panic!("must fail");
    };
    assert!(
        reason.contains("ErrImageNeverPull image x is not present"),
        "{reason}"
    );
    assert_eq!(pod.as_deref(), Some("pod/gateway-1"));
}

#[test]
fn failures_of_previous_pods_are_ignored() {
    let revision = |number: &str| json!({"deployment.kubernetes.io/revision": number});
    let set = |number: &str, hash: &str| {
        json!({"kind": "ReplicaSet", "metadata": {"name": hash, "labels": {"pod-template-hash": hash},
            "annotations": revision(number), "ownerReferences": [{"name": "gateway"}]}})
    };
    let pod = |hash: &str, reason: &str| {
        json!({"kind": "Pod", "metadata": {"name": hash, "labels": {"app": "gateway", "pod-template-hash": hash}},
            "status": {"containerStatuses": [{"name": "gateway", "restartCount": 7,
                "state": {"waiting": {"reason": reason}}}], "phase": "Running"}})
    };
    let mut deployment = deployment(1, 2, 0, 2);
    deployment["metadata"]["annotations"] = revision("2");
    let sets = [set("1", "old"), set("2", "new")];
    let with = |new: Value, old: Value| {
        let items = [deployment.clone(), old, new]
            .into_iter()
            .chain(sets.clone())
            .collect();
        state(&list(items), "Deployment", "gateway")
    };
    let fresh = json!({"kind": "Pod", "metadata": {"name": "new", "labels": {"app": "gateway", "pod-template-hash": "new"}},
        "status": {"phase": "Pending"}});
    assert!(matches!(
        with(fresh, pod("old", "CrashLoopBackOff")),
        State::Waiting { .. }
    ));
    let fine = json!({"kind": "Pod", "metadata": {"name": "old", "labels": {"app": "gateway", "pod-template-hash": "old"}},
        "status": {"phase": "Running"}});
    assert!(matches!(
        with(pod("new", "CrashLoopBackOff"), fine),
        State::Failed { .. }
    ));
}

#[test]
fn waits_for_terminating_pods() {
    let mut old = pod(json!({"phase": "Running"}));
    let with = |old: &Value| {
        state(
            &list(vec![deployment(1, 1, 1, 2), old.clone()]),
            "Deployment",
            "gateway",
        )
    };
    assert_eq!(with(&old), State::Ready);
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let State::Waiting { state, .. } = with(&old) else {
        panic!("must wait");
    };
    assert_eq!(state, "previous pod gateway-1 is still terminating");
}

#[test]
fn waits_for_a_first_restart_but_not_for_a_crash_loop() {
    let restarted = |count: u64| {
        let status = json!({"containerStatuses": [{"name": "gateway", "restartCount": count,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        state(
            &list(vec![deployment(1, 1, 0, 2), pod(status)]),
            "Deployment",
            "gateway",
        )
    };
    assert!(matches!(restarted(1), State::Waiting { .. }));
    assert!(matches!(restarted(3), State::Failed { .. }));
}

#[test]
fn state_of_a_job_is_its_condition() {
    let job = |condition: &str| {
        let job = json!({"kind": "Job", "metadata": {"name": "migrate"},
            "status": {"conditions": [{"type": condition, "status": "True"}]}});
        state(&list(vec![job]), "Job", "migrate")
    };
    assert_eq!(job("Complete"), State::Ready);
    assert!(matches!(job("Failed"), State::Failed { pod: Some(pod), .. } if pod == "job/migrate"));
    assert!(matches!(job("FailureTarget"), State::Waiting { .. }));
}

#[test]
fn waiting_state_has_the_messages_of_the_cluster() {
    let status = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]});
    let waiting = state(
        &list(vec![deployment(1, 1, 0, 2), pod(status)]),
        "Deployment",
        "gateway",
    );
    assert_eq!(
        waiting,
        State::Waiting {
            state: "pod gateway-1 is Pending: 0/1 nodes are available".to_owned(),
            pod: Some("pod/gateway-1".to_owned())
        }
    );
}

#[test]
fn restarts_of_a_ready_workload_are_described() {
    let failed = json!({"exitCode": 1, "reason": "Error"});
    let status = |count: u64, phase: &str| {
        json!({"phase": phase, "containerStatuses": [{"name": "gateway", "restartCount": count,
            "state": {"terminated": &failed}, "lastState": {"terminated": &failed}}]})
    };
    let of = |status| {
        restarts(
            &list(vec![deployment(1, 1, 1, 2), pod(status)]),
            "Deployment",
            "gateway",
        )
    };
    assert_eq!(of(status(0, "Running")), Vec::<String>::new());
    assert_eq!(
        of(status(2, "Running")),
        ["container gateway of pod gateway-1 was restarted, count 2, last after exit code 1 (Error)"]
    );
    assert_eq!(
        of(status(0, "Failed")),
        ["pod gateway-1 failed with exit code 1 (Error)"]
    );
}
