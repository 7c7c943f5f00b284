//! Steps that speak HTTP: a service that answers, objects for the embedded Kubernetes API.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Did, Place, World, wait_until};
use crate::yaml::{self, Object};

/// An old instance may answer while the new one takes its place; one that answers for longer is not going to go.
const REPLACED: Duration = Duration::from_secs(15);

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .http_status_as_error(false)
        // What runs here is on this machine: a proxy of the user's could not reach it.
        .proxy(None)
        .build();
    config.into()
}

/// Status and body of a GET.
pub(super) fn look(url: &str) -> Result<(u16, String), ureq::Error> {
    let mut response = agent().get(url).call()?;
    let status = response.status().as_u16();
    Ok((status, response.body_mut().read_to_string().unwrap_or_default()))
}

impl World<'_> {
    /// Asks until the answer is 200, and of the version where one is expected.
    pub(super) fn answers(
        &self,
        place: &Place<'_>,
        name: &str,
        url: &str,
        version: Option<&str>,
        seconds: u64,
    ) -> anyhow::Result<Did> {
        let expected = version.map(|version| self.fill(version));
        let limit = Duration::from_secs(seconds);
        let as_version = expected
            .as_ref()
            .map(|version| format!(" as version {version}"))
            .unwrap_or_default();
        let what = format!("{url} answers 200{as_version}");
        let mut other_version = None;
        let answer = wait_until(place.context, &what, limit, Duration::from_millis(50), || {
            // A process that ended never answers: its own last words tell why.
            self.check_alive(name)?;
            let (status, body) = match look(url) {
                Ok(answer) => answer,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let version = || {
                serde_json::from_str::<Value>(&body).ok()?["version"]
                    .as_str()
                    .map(str::to_owned)
            };
            Ok(match (status, version()) {
                (200, found) if expected.is_none() || found == expected => Ok(()),
                (200, found) => {
                    let state = format!(
                        "{url} answers as another version, {}: 200 {body}",
                        found.as_deref().unwrap_or("and does not say which")
                    );
                    let since = *other_version.get_or_insert_with(Instant::now);
                    if since.elapsed() > REPLACED {
                        bail!("waited until {what}, but {state}");
                    }
                    Err(state)
                }
                _ => Err(format!("{status} {body}")),
            })
        });
        let answer = answer.map_err(|error| self.with_process_log(name, error));
        self.let_go(name);
        answer?;
        Ok(Did::Something)
    }

    /// Creates the objects of a rendered file, or replaces those that are there.
    pub(super) fn put(&self, place: &Place<'_>, file: &Path) -> anyhow::Result<Did> {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).with_context(|| format!("can't read {name}"))?;
        let server = yaml::server(&self.settings.kubeconfig())?;
        let agent = agent();
        for object in yaml::objects(&name, &text)? {
            put_object(&agent, &server, &object).with_context(|| object.reference())?;
            if object.kind() == "CustomResourceDefinition" {
                wait_established(place, &agent, &server, &object)?;
            }
        }
        Ok(Did::Something)
    }
}

/// The collection that an object belongs to: the API server itself says how its kind is called.
fn collection(agent: &ureq::Agent, server: &str, object: &Object) -> anyhow::Result<String> {
    let version = object.0["apiVersion"]
        .as_str()
        .context("an object has an apiVersion")?;
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
    Ok(
        match (
            resource["namespaced"].as_bool(),
            object.0.pointer("/metadata/namespace").and_then(Value::as_str),
        ) {
            (Some(true), Some(namespace)) => format!("{root}/namespaces/{namespace}/{name}"),
            (Some(true), None) => format!("{root}/namespaces/default/{name}"),
            _ => format!("{root}/{name}"),
        },
    )
}

fn put_object(agent: &ureq::Agent, server: &str, object: &Object) -> anyhow::Result<()> {
    let collection = collection(agent, server, object)?;
    let mut response = agent.post(&collection).send_json(&object.0)?;
    match response.status().as_u16() {
        200..300 => return Ok(()),
        409 => {}
        status => bail!(
            "POST {collection}: {status} {}",
            response.body_mut().read_to_string().unwrap_or_default()
        ),
    }
    let one = format!("{collection}/{}", object.name());
    let patch = agent.patch(&one).content_type("application/merge-patch+json");
    let mut response = patch.send(object.0.to_string())?;
    match response.status().as_u16() {
        200..300 => Ok(()),
        status => bail!(
            "PATCH {one}: {status} {}",
            response.body_mut().read_to_string().unwrap_or_default()
        ),
    }
}

fn wait_established(
    place: &Place<'_>,
    agent: &ureq::Agent,
    server: &str,
    crd: &Object,
) -> anyhow::Result<()> {
    let one = format!("{}/{}", collection(agent, server, crd)?, crd.name());
    let what = format!("{} is established", crd.reference());
    let interval = Duration::from_millis(20);
    wait_until(place.context, &what, Duration::from_secs(30), interval, || {
        let read: Value = agent.get(&one).call()?.body_mut().read_json()?;
        let conditions = read
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let holds = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
        let established = conditions.iter().any(holds);
        Ok(if established {
            Ok(())
        } else {
            Err(format!("its status is {}", read["status"]))
        })
    })
}
