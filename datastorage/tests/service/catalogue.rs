//! The catalogue of workflows, and success rates.

use serde_json::{Value, json};

use crate::stack::{Service, event, name};

const WORKFLOWS: &str = "/api/v1/workflows";

fn workflow(name: &str, version: &str, labels: &Value) -> Value {
    json!({"workflow_name": name, "version": version, "name": "Restart", "description": "Restarts it",
        "content": "steps: [restart]", "labels": labels})
}

#[test]
fn versions_are_immutable_listed_and_disabled() {
    let service = Service::start();
    let name = name("restart");
    let labels = json!({"signal_type": "OOMKilled", "severity": "*"});
    let first = service.post(WORKFLOWS, &workflow(&name, "1.0.0", &labels));
    assert_eq!(first.status, 201, "{}", first.text);
    assert_eq!(
        service.post(WORKFLOWS, &workflow(&name, "1.0.0", &labels)).status,
        409
    );
    // The newest is the one added last, whatever its name is.
    assert_eq!(
        service
            .post(WORKFLOWS, &workflow(&name, "1.10.0", &labels))
            .status,
        201
    );
    assert_eq!(
        service.post(WORKFLOWS, &workflow(&name, "1.9.0", &labels)).status,
        201
    );
    let versions = service
        .get(&format!("{WORKFLOWS}/by-name/{name}/versions"))
        .json();
    let of = |page: &Value, field: &str| -> Vec<Value> {
        page["workflows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|workflow| workflow[field].clone())
            .collect()
    };
    assert_eq!(of(&versions, "version"), ["1.9.0", "1.10.0", "1.0.0"]);
    assert_eq!(of(&versions, "is_latest"), [true, false, false]);
    let id = first.json()["workflow_id"].as_str().unwrap().to_owned();
    let one = format!("{WORKFLOWS}/{id}");
    let patch = |path: &str, body: Value| service.send("PATCH", path, Some(&body), &[]);
    assert_eq!(patch(&one, json!({"content": "steps: []"})).fields(), ["content"]);
    assert_eq!(
        patch(&one, json!({"description": "Better"})).json()["description"],
        "Better"
    );
    let update = format!("UPDATE workflows SET content = 'x' WHERE workflow_id = '{id}'");
    assert!(
        service
            .servers
            .rejected_sql(&update)
            .contains("can not be changed")
    );
    let disabled = patch(&format!("{one}/disable"), json!({"reason": "made it worse"}));
    assert_eq!(
        (disabled.status, disabled.json()["status"].clone()),
        (200, json!("disabled"))
    );
    let listed = service
        .get(&format!("{WORKFLOWS}?workflow_name={name}&status=disabled"))
        .json();
    assert_eq!(
        (of(&listed, "version"), &listed["total"]),
        (vec![json!("1.0.0")], &json!(1))
    );
    assert_eq!(service.get(&format!("{WORKFLOWS}/none")).status, 404);
    assert_eq!(
        service
            .post(WORKFLOWS, &json!({"workflow_name": name}))
            .fields()
            .len(),
        5
    );
}

#[test]
fn search_returns_best_matches_first_and_no_disabled_workflow() {
    let service = Service::start();
    let key = name("kind");
    let [exact, wide, other, old] = ["exact", "wide", "other", "old"].map(name);
    for (name, labels) in [
        (&exact, json!({&key: "a", "severity": "critical"})),
        (&wide, json!({&key: "a", "severity": "*"})),
        (&other, json!({&key: "a", "severity": "low"})),
        (&old, json!({&key: "a", "severity": "critical"})),
    ] {
        let answer = service.post(WORKFLOWS, &workflow(name, "1", &labels));
        assert_eq!(answer.status, 201, "{}", answer.text);
        if *name == old {
            let id = answer.json()["workflow_id"].as_str().unwrap().to_owned();
            let body = json!({"reason": "x"});
            assert_eq!(
                service
                    .send("PATCH", &format!("{WORKFLOWS}/{id}/disable"), Some(&body), &[])
                    .status,
                200
            );
        }
    }
    let found = service
        .post(
            &format!("{WORKFLOWS}/search"),
            &json!({"labels": {&key: "a", "severity": "critical"}}),
        )
        .json();
    let found: Vec<(&str, f64)> = found["workflows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|workflow| {
            (
                workflow["workflow_name"].as_str().unwrap(),
                workflow["score"].as_f64().unwrap(),
            )
        })
        .collect();
    assert_eq!(found, [(exact.as_str(), 1.0), (wide.as_str(), 0.75)]);
    assert_eq!(
        service.post(&format!("{WORKFLOWS}/search"), &json!({})).fields(),
        ["labels"]
    );
}

#[test]
fn search_finds_an_older_version_when_the_newest_does_not_match() {
    let service = Service::start();
    let (key, name) = (name("kind"), name("workflow"));
    for (version, severity) in [("1", "critical"), ("2", "low")] {
        let workflow = workflow(&name, version, &json!({&key: "a", "severity": severity}));
        assert_eq!(service.post(WORKFLOWS, &workflow).status, 201);
    }
    let search = json!({"labels": {&key: "a", "severity": "critical"}});
    let found = service.post(&format!("{WORKFLOWS}/search"), &search).json();
    assert_eq!(
        (&found["total"], &found["workflows"][0]["version"]),
        (&json!(1), &json!("1"))
    );
}

#[test]
fn totals_of_success_rates_count_every_group_and_long_ids_are_stored() {
    let service = Service::start();
    let (incident, correlation) = (name("many"), name("outcomes"));
    let batch = |range: std::ops::Range<usize>| -> Value {
        range
            .map(|number| {
                let mut event = event(&correlation);
                event["event_category"] = json!("execution");
                event["event_action"] = json!("completed");
                event["event_data"] = json!({"incident_type": incident, "workflow_id": format!("w{number}")});
                event
            })
            .collect()
    };
    for range in [0..600, 600..1_100] {
        assert_eq!(
            service.post("/api/v1/audit/events/batch", &batch(range)).status,
            201
        );
    }
    // Incompressible: an index of whole values would reject it.
    let long: String = (0..100).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let mut event = event(&correlation);
    event["event_category"] = json!("execution");
    event["event_action"] = json!("completed");
    event["event_data"] = json!({"incident_type": long, "workflow_id": long});
    assert_eq!(service.write(&event).status, 201);
    let rate = service
        .get(&format!(
            "/api/v1/success-rate/incident-type?incident_type={incident}"
        ))
        .json();
    assert_eq!(
        (&rate["total_executions"], &rate["total_workflows"]),
        (&json!(1_100), &json!(1_100))
    );
    assert_eq!(rate["breakdown_by_workflow"].as_array().unwrap().len(), 1_000);
}

#[test]
fn success_rates_equal_the_recorded_outcomes() {
    let service = Service::start();
    let (incident, workflow) = (name("oom"), name("restart"));
    let correlation = name("outcomes");
    let outcome = |version: &str, action: &str, outcome: &str, hours: i64| {
        let mut event = event(&correlation);
        event["event_category"] = json!("execution");
        event["event_action"] = json!(action);
        event["event_outcome"] = json!(outcome);
        event["event_data"] = json!({"incident_type": incident, "workflow_id": workflow, "workflow_version": version,
            "action_type": "restart_pod"});
        event["event_timestamp"] =
            json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours)).to_string());
        event
    };
    let mut events = Vec::new();
    events.extend((0..6).map(|_| outcome("1", "completed", "success", 1)));
    events.extend((0..2).map(|_| outcome("1", "failed", "failure", 1)));
    events.push(outcome("2", "completed", "success", 1));
    // Neither of these is an outcome within a day.
    events.push(outcome("1", "started", "success", 1));
    events.push(outcome("1", "completed", "pending", 1));
    events.push(outcome("1", "failed", "failure", 48));
    assert_eq!(
        service.post("/api/v1/audit/events/batch", &json!(events)).status,
        201
    );
    let get = |path: &str| service.get(&format!("/api/v1/success-rate/{path}")).json();
    let rate = get(&format!("incident-type?incident_type={incident}&time_range=24h"));
    assert_eq!(
        (&rate["total_executions"], &rate["successful_executions"]),
        (&json!(9), &json!(7)),
        "{rate}"
    );
    assert!((rate["success_rate"].as_f64().unwrap() - 77.7778).abs() < 0.001);
    assert_eq!(
        (&rate["confidence"], &rate["min_samples_met"]),
        (&json!("low"), &json!(true))
    );
    assert_eq!(rate["breakdown_by_workflow"][0]["total_executions"], 8);
    assert_eq!(
        get(&format!("workflow?workflow_id={workflow}&time_range=7d"))["failed_executions"],
        3
    );
    let two = get(&format!(
        "workflow?workflow_id={workflow}&workflow_version=2&time_range=7d"
    ));
    assert_eq!(
        (&two["total_executions"], &two["confidence"]),
        (&json!(1), &json!("insufficient_data"))
    );
    let several = get(&format!(
        "multi-dimensional?incident_type={incident}&action_type=restart_pod&min_samples=50"
    ));
    assert_eq!(
        (&several["total_executions"], &several["min_samples_met"]),
        (&json!(10), &json!(false))
    );
    let none = get("incident-type?incident_type=none");
    assert_eq!(
        (&none["total_executions"], &none["success_rate"]),
        (&json!(0), &json!(null))
    );
    assert_eq!(
        service.get("/api/v1/success-rate/workflow").fields(),
        ["workflow_id"]
    );
}
