//! Steps that use HTTP: readiness of a service, objects for the embedded Kubernetes API.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{RunContext, StepContext, StepOutcome, wait_until};
use crate::yaml::{self, Object};

/// Time for which the previous instance of a service may respond while the new one replaces it.
const REPLACEMENT: Duration = Duration::from_secs(15);

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        // All servers are on this machine, which a configured proxy could not reach.
        .proxy(None)
        .build();
    config.into()
}

/// Returns status and body of a GET.
pub(super) fn get(url: &str) -> Result<(u16, String), ureq::Error> {
    let mut response = agent().get(url).call()?;
    let status = response.status().as_u16();
    Ok((status, response.body_mut().read_to_string().unwrap_or_default()))
}

impl RunContext<'_> {
    /// Waits for a response 200 and, if given, for the version.
    pub(super) fn wait_http(
        &self,
        step: &StepContext<'_>,
        name: &str,
        url: &str,
        version: Option<&str>,
    ) -> anyhow::Result<()> {
        let expected = version.map(|version| self.fill(version));
        let what = match &expected {
            Some(version) => format!("200 from {url} with version {version}"),
            None => format!("200 from {url}"),
        };
        let mut other_version = None;
        let waited = wait_until(step, &what, Duration::from_millis(50), || {
            self.check_alive(name)?;
            let (status, body) = match get(url) {
                Ok(response) => response,
                Err(error) => return Ok(Err(error.to_string())),
            };
            if status != 200 {
                return Ok(Err(format!("{status} {body}")));
            }
            let found: Option<Value> = serde_json::from_str(&body).ok();
            let found = found.as_ref().and_then(|body| body["version"].as_str());
            if expected.is_none() || found == expected.as_deref() {
                return Ok(Ok(()));
            }
            let state = format!(
                "{url} has another version, {}: 200 {body}",
                found.unwrap_or("none")
            );
            let since = *other_version.get_or_insert_with(Instant::now);
            if since.elapsed() > REPLACEMENT {
                bail!("expected {what}, but {state}");
            }
            Ok(Err(state))
        });
        let waited = waited.map_err(|error| self.with_process_log(name, error));
        self.detach(name);
        waited
    }

    /// Creates the objects of a rendered file, or updates existing ones.
    pub(super) fn put(&self, step: &StepContext<'_>, file: &Path) -> anyhow::Result<StepOutcome> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
        let server = yaml::server(&self.settings.kubeconfig())?;
        let agent = agent();
        for object in yaml::objects(&name, &text)? {
            put_object(&agent, &server, &object).with_context(|| object.reference())?;
            if object.kind() == "CustomResourceDefinition" {
                wait_established(step, &agent, &server, &object)?;
            }
        }
        Ok(StepOutcome::Done)
    }
}

/// Returns the URL of an object's collection; the API server names the resource of its kind.
fn collection(agent: &ureq::Agent, server: &str, object: &Object) -> anyhow::Result<String> {
    let reference = || format!("{} has no apiVersion", object.reference());
    let version = object.0["apiVersion"].as_str().with_context(reference)?;
    let root = if version.contains('/') {
        format!("{server}/apis/{version}")
    } else {
        format!("{server}/api/{version}")
    };
    let mut response = agent.get(&root).call()?;
    let list: Value = response
        .body_mut()
        .read_json()
        .with_context(|| format!("GET {root}: {}", response.status()))?;
    let resources = list["resources"].as_array().map_or(&[][..], Vec::as_slice);
    let is_it = |resource: &&Value| {
        resource["kind"] == object.kind() && !resource["name"].as_str().unwrap_or("/").contains('/')
    };
    let resource = resources
        .iter()
        .find(is_it)
        .with_context(|| format!("{version} has no kind {}", object.kind()))?;
    let name = resource["name"].as_str().unwrap_or_default();
    if resource["namespaced"] == true {
        let namespace = object.0.pointer("/metadata/namespace").and_then(Value::as_str);
        let namespace = namespace.unwrap_or("default");
        return Ok(format!("{root}/namespaces/{namespace}/{name}"));
    }
    Ok(format!("{root}/{name}"))
}

fn put_object(agent: &ureq::Agent, server: &str, object: &Object) -> anyhow::Result<()> {
    let collection = collection(agent, server, object)?;
    let created = agent.post(&collection).send_json(&object.0)?;
    if created.status().as_u16() != 409 {
        return check_success("POST", &collection, created);
    }
    let one = format!("{collection}/{}", object.name());
    let patch = agent.patch(&one).content_type("application/merge-patch+json");
    check_success("PATCH", &one, patch.send(object.0.to_string())?)
}

fn check_success(
    method: &str,
    url: &str,
    mut response: ureq::http::Response<ureq::Body>,
) -> anyhow::Result<()> {
    let status = response.status();
    anyhow::ensure!(
        status.is_success(),
        "{method} {url}: {} {}",
        status.as_u16(),
        response.body_mut().read_to_string().unwrap_or_default()
    );
    Ok(())
}

fn wait_established(
    step: &StepContext<'_>,
    agent: &ureq::Agent,
    server: &str,
    crd: &Object,
) -> anyhow::Result<()> {
    let one = format!("{}/{}", collection(agent, server, crd)?, crd.name());
    let what = format!("{} to be established", crd.reference());
    let interval = Duration::from_millis(20);
    let step = StepContext {
        timeout: Duration::from_secs(30),
        ..*step
    };
    wait_until(&step, &what, interval, || {
        let read: Value = agent.get(&one).call()?.body_mut().read_json()?;
        let conditions = read
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let is_established =
            |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
        Ok(if conditions.iter().any(is_established) {
            Ok(())
        } else {
            Err(format!("its status is {}", read["status"]))
        })
    })
}
