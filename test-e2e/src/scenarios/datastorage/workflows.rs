//! The catalogue of workflows, and their success rates.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::datastorage::event;
use crate::harness::context::Context;
use crate::harness::part::Part::{DataStorage, PostgreSql};
use crate::harness::scenario::Scenario;
use crate::http::Response;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "s21_workflow_versions_are_immutable_and_the_newest_enabled_one_is_found",
        |c| Box::pin(catalogue(c)),
    )
    .shares(&[DataStorage, PostgreSql]),
    Scenario::new("s22_success_rates_equal_the_counted_outcomes", |c| {
        Box::pin(success_rates(c))
    })
    .shares(&[DataStorage, PostgreSql]),
];

const WORKFLOWS: &str = "/api/v1/workflows";

async fn catalogue(context: &Context) -> Result<()> {
    let (datastorage, name) = (context.datastorage(), context.named("restart"));
    let workflow = |version: &str, content: &str| {
        json!({
            "workflow_name": name, "version": version, "name": "Restart a pod", "description": "Restarts it once",
            "content": content, "labels": {"signal_type": name, "severity": "critical", "component": "*"},
        })
    };
    let patch = async |id: &str, what: &str, body: Value| -> Result<Response> {
        let url = datastorage.url(&format!("{WORKFLOWS}/{id}{what}"))?;
        context.http.request(Method::PATCH, url).json(&body).send().await
    };
    let search = async |labels: Value| -> Result<Response> {
        let body = json!({"labels": labels});
        datastorage
            .post(&format!("{WORKFLOWS}/search"), &body)
            .await?
            .expect(200)
    };

    let first = datastorage
        .post(WORKFLOWS, &workflow("1.0.0", "one"))
        .await?
        .expect(201)?;
    let second = datastorage
        .post(WORKFLOWS, &workflow("1.1.0", "two"))
        .await?
        .expect(201)?;
    datastorage
        .post(WORKFLOWS, &workflow("1.0.0", "another"))
        .await?
        .is_problem(409, &["1.0.0"])?;
    let (first, second) = (first.text_at("/workflow_id")?, second.text_at("/workflow_id")?);
    let get = async |id: &str| {
        context
            .http
            .get(datastorage.url(&format!("{WORKFLOWS}/{id}"))?)
            .send()
            .await?
            .expect(200)
    };
    get(&first)
        .await?
        .has("/content", "one")?
        .has("/is_latest", false)?
        .has("/version", "1.0.0")?;
    get(&second)
        .await?
        .has("/content", "two")?
        .has("/is_latest", true)?;
    let url = datastorage.url(&format!("{WORKFLOWS}/by-name/{name}/versions"))?;
    let versions = context.http.get(url).send().await?.expect(200)?;
    versions
        .has("/total", 2)?
        .has("/workflows/0/version", "1.1.0")?
        .has("/workflows/1/version", "1.0.0")?;

    let wanted = json!({"signal_type": name, "severity": "critical"});
    search(wanted.clone())
        .await?
        .has("/total", 1)?
        .has("/workflows/0/workflow_id", second.as_str())?;
    search(json!({"signal_type": context.named("none")}))
        .await?
        .has("/total", 0)?;

    let changed = patch(&second, "", json!({"name": "Restart a pod, gently"}))
        .await?
        .expect(200)?;
    changed
        .has("/name", "Restart a pod, gently")?
        .has("/content", "two")?;
    patch(&second, "", json!({"content": "three"}))
        .await?
        .is_problem(400, &["content"])?;
    get(&second).await?.has("/content", "two")?;

    patch(&second, "/disable", json!({}))
        .await?
        .is_problem(400, &["reason"])?;
    let disabled = patch(&second, "/disable", json!({"reason": "it loops"}))
        .await?
        .expect(200)?;
    disabled
        .has("/status", "disabled")?
        .has("/disabled_reason", "it loops")?;
    search(wanted.clone())
        .await?
        .has("/total", 1)?
        .has("/workflows/0/workflow_id", first.as_str())?;
    patch(&first, "/disable", json!({"reason": "also"}))
        .await?
        .expect(200)?;
    search(wanted).await?.has("/total", 0)?;
    get(&second)
        .await?
        .has("/status", "disabled")?
        .has("/content", "two")?;
    Ok(())
}

async fn success_rates(context: &Context) -> Result<()> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let (datastorage, incident) = (context.datastorage(), context.named("incident"));
    let (restart, scale) = (context.named("restart"), context.named("scale"));
    let outcome = |workflow: &str, version: &str, outcome: &str, ago: Duration| {
        let mut event = event(&incident, "execution.workflow.completed", ago);
        event["event_category"] = json!("execution");
        event["event_action"] = json!("completed");
        event["event_outcome"] = json!(outcome);
        event["event_data"] = json!({
            "incident_type": incident, "workflow_id": workflow, "workflow_version": version, "action_type": "restart",
        });
        event
    };
    let mut events = Vec::new();
    for number in 0..10 {
        events.push(outcome(
            &restart,
            "1",
            if number < 7 { "success" } else { "failure" },
            HOUR,
        ));
    }
    events.push(outcome(&restart, "2", "success", HOUR));
    events.push(outcome(&scale, "1", "failure", HOUR));
    // One without an outcome yet, and one before the window.
    events.push(outcome(&restart, "1", "pending", HOUR));
    events.push(outcome(&restart, "1", "failure", 30 * HOUR));
    datastorage.write_batch(&events).await?.expect(201)?;

    let rate = async |route: &str, parameters: &[(&str, &str)]| -> Result<Response> {
        let mut request = context
            .http
            .get(datastorage.url(&format!("/api/v1/success-rate/{route}"))?);
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        request.query("time_range", "24h").send().await?.expect(200)
    };
    let counts = |response: &Response, successes: u64, failures: u64| -> Result<()> {
        response.has("/total_executions", successes + failures)?;
        response
            .has("/successful_executions", successes)?
            .has("/failed_executions", failures)?;
        Ok(())
    };
    let version = [("workflow_id", restart.as_str()), ("workflow_version", "1")];
    let one = rate("workflow", &[version[0], version[1], ("min_samples", "5")]).await?;
    counts(&one, 7, 3)?;
    one.has("/success_rate", 70.0)?
        .has("/min_samples_met", true)?
        .has("/confidence", "low")?;
    // Wilson's interval of 7 in 10, from a table.
    for (bound, expected) in [("lower", 39.68), ("upper", 89.22)] {
        let found = one
            .at(&format!("/confidence_interval/{bound}"))?
            .as_f64()
            .unwrap_or_default();
        one.ensure(
            (found - expected).abs() < 0.01,
            format!("expected the {bound} bound {expected}"),
        )?;
    }
    let few = rate("workflow", &[version[0], version[1], ("min_samples", "11")]).await?;
    few.has("/min_samples_met", false)?
        .has("/confidence", "insufficient_data")?;

    counts(&rate("workflow", &[version[0]]).await?, 8, 3)?;
    let all = rate("incident-type", &[("incident_type", &incident)]).await?;
    counts(&all, 8, 4)?;
    all.has("/breakdown_by_workflow/0/workflow_id", restart.as_str())?;
    all.has("/breakdown_by_workflow/0/total_executions", 10)?;
    let several = [
        ("incident_type", incident.as_str()),
        ("workflow_id", &scale),
        ("action_type", "restart"),
    ];
    let several = rate("multi-dimensional", &several).await?;
    counts(&several, 0, 1)?;
    several.has("/success_rate", 0.0)?;
    let none = rate("incident-type", &[("incident_type", &context.named("none"))]).await?;
    counts(&none, 0, 0)?;
    none.has("/success_rate", Value::Null)?;
    Ok(())
}
