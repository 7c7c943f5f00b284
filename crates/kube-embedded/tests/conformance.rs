//! One suite of requests and expected responses, as data in `tests/conformance/*.toml`, run against kube-embedded and,
//! when `KUBE_CONFORMANCE_KUBECONFIG` names a kubeconfig, against the API server of that cluster too.
//!
//! A case runs in a namespace of its own, `{ns}`. An expected response is a subset: objects may have more
//! keys, lists must match item by item. Special texts: `<any>`, `<absent>`, `<save:NAME>` (later `{NAME}`),
//! `<match:REGEX>`. `contains` lists texts that the body must contain. A step with `differs` is run against
//! kube-embedded only and gives the reason why the real server's response differs; these are the known differences.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers, outside of the functions in which clippy.toml allows them"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use support::{Client, Response, Server};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Fault injection, compaction and the like, which only kube-embedded has.
    #[serde(default)]
    embedded_only: Option<String>,
    step: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Method and path.
    request: String,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    status: u16,
    /// JSON that the response must contain.
    #[serde(default)]
    response: Option<String>,
    /// Lines of a watch, each like `response`.
    #[serde(default)]
    lines: Option<Vec<String>>,
    /// Causes that the response must contain, in any order, each like `response`.
    #[serde(default)]
    causes: Vec<String>,
    /// Texts that the body must contain.
    #[serde(default)]
    contains: Vec<String>,
    /// Headers of the response, with a part of their value.
    #[serde(default)]
    response_headers: BTreeMap<String, String>,
    /// Why the real server's response differs.
    #[serde(default)]
    differs: Option<String>,
    /// The expected state is reached eventually: the request is repeated.
    #[serde(default)]
    eventually: bool,
}

fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut cases = Vec::new();
    for path in files {
        let file: File = toml::from_str(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        cases.extend(
            file.case
                .into_iter()
                .map(|case| (format!("{stem}: {}", case.name), case)),
        );
    }
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    cases
}

struct Run<'a> {
    client: &'a Client,
    embedded: bool,
    saved: BTreeMap<String, String>,
}

impl Run<'_> {
    async fn case(&mut self, case: &Case) -> Result<(), String> {
        let namespace = format!(r#"{{"metadata":{{"name":"{}"}}}}"#, self.saved["ns"]);
        let created = self
            .client
            .send("POST /api/v1/namespaces", &BTreeMap::new(), Some(&namespace))
            .await;
        if created.status != 201 {
            return Err(format!("cannot create the namespace: {created}"));
        }
        let mut result = Ok(());
        for (index, step) in case.step.iter().enumerate() {
            if step.differs.is_some() && !self.embedded {
                continue;
            }
            result = self
                .step(step)
                .await
                .map_err(|what| format!("step {}: {}: {what}", index + 1, fill(&step.request, &self.saved)));
            if result.is_err() {
                break;
            }
        }
        self.client
            .send(
                &format!("DELETE /api/v1/namespaces/{}", self.saved["ns"]),
                &BTreeMap::new(),
                None,
            )
            .await;
        result
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let request = fill(&step.request, &self.saved);
        let body = step.body.as_deref().map(|body| fill(body, &self.saved));
        let headers: BTreeMap<String, String> = step
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), fill(value, &self.saved)))
            .collect();
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let response = self.client.send(&request, &headers, body.as_deref()).await;
            let mut saved = self.saved.clone();
            match check(step, &response, &mut saved) {
                Ok(()) => {
                    self.saved = saved;
                    return Ok(());
                }
                Err(_) if step.eventually && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                Err(what) => return Err(format!("{what}\n    response {response}")),
            }
        }
    }
}

fn check(step: &Step, response: &Response, saved: &mut BTreeMap<String, String>) -> Result<(), String> {
    if response.status != step.status {
        return Err(format!("expected {}", step.status));
    }
    if let Some(expected) = &step.response {
        let expected = parse(expected, saved);
        let found = serde_json::from_str(&response.body).map_err(|_| "expected JSON".to_owned())?;
        contains(&expected, Some(&found), "", saved)?;
    }
    if let Some(lines) = &step.lines {
        let found: Vec<&str> = response.body.lines().filter(|line| !line.is_empty()).collect();
        if found.len() != lines.len() {
            return Err(format!("expected {} lines", lines.len()));
        }
        for (index, (expected, line)) in lines.iter().zip(found).enumerate() {
            let expected = parse(expected, saved);
            let line = serde_json::from_str(line).map_err(|_| "expected lines of JSON".to_owned())?;
            contains(&expected, Some(&line), &format!("line {index}"), saved)?;
        }
    }
    if !step.causes.is_empty() {
        let found: Value = serde_json::from_str(&response.body).map_err(|_| "expected JSON".to_owned())?;
        let found = found
            .pointer("/details/causes")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for cause in &step.causes {
            let cause = parse(cause, saved);
            if !found
                .iter()
                .any(|found| contains(&cause, Some(found), "", saved).is_ok())
            {
                return Err(format!("expected a cause {cause}"));
            }
        }
    }
    for text in &step.contains {
        let text = fill(text, saved);
        if !response.body.contains(&text) {
            return Err(format!("expected the body to contain `{text}`"));
        }
    }
    for (name, part) in &step.response_headers {
        let values = response
            .headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap_or_default());
        let values: Vec<&str> = values.collect();
        if !values.iter().any(|value| value.contains(part)) {
            return Err(format!(
                "expected the header {name} to contain `{part}`, found {values:?}"
            ));
        }
    }
    Ok(())
}

fn fill(text: &str, saved: &BTreeMap<String, String>) -> String {
    saved.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

fn parse(expected: &str, saved: &BTreeMap<String, String>) -> Value {
    let filled = fill(expected, saved);
    serde_json::from_str(&filled)
        .unwrap_or_else(|error| panic!("an expected response is invalid JSON: {error}: {filled}"))
}

/// Checks that the actual value contains the expected one; saves the values of `<save:NAME>`.
fn contains(
    expected: &Value,
    found: Option<&Value>,
    path: &str,
    saved: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let wrong = || {
        Err(format!(
            "expected {path} to be {expected}, found {}",
            found.map_or("nothing".to_owned(), Value::to_string)
        ))
    };
    if let Value::String(text) = expected {
        if text == "<absent>" {
            return if found.is_none() { Ok(()) } else { wrong() };
        }
        let Some(found) = found else { return wrong() };
        let shown = found
            .as_str()
            .map_or_else(|| found.to_string(), ToOwned::to_owned);
        if text == "<any>" {
            return Ok(());
        }
        if let Some(name) = text
            .strip_prefix("<save:")
            .and_then(|rest| rest.strip_suffix('>'))
        {
            saved.insert(name.to_owned(), shown);
            return Ok(());
        }
        if let Some(pattern) = text
            .strip_prefix("<match:")
            .and_then(|rest| rest.strip_suffix('>'))
        {
            return if regex::Regex::new(pattern).unwrap().is_match(&shown) {
                Ok(())
            } else {
                wrong()
            };
        }
    }
    match (expected, found) {
        (Value::Object(expected), Some(Value::Object(found))) => expected
            .iter()
            .try_for_each(|(key, value)| contains(value, found.get(key), &format!("{path}.{key}"), saved)),
        (Value::Array(expected), Some(Value::Array(found))) if expected.len() == found.len() => expected
            .iter()
            .zip(found)
            .enumerate()
            .try_for_each(|(index, (value, found))| {
                contains(value, Some(found), &format!("{path}[{index}]"), saved)
            }),
        (expected, Some(found)) if !expected.is_array() && expected == found => Ok(()),
        _ => wrong(),
    }
}

/// Runs all cases, or those whose name contains `KUBE_CONFORMANCE_CASE`.
async fn run(client: &Client, embedded: bool) {
    let filter = std::env::var("KUBE_CONFORMANCE_CASE").unwrap_or_default();
    let unique = format!("{:x}", std::process::id());
    let mut failures = Vec::new();
    let mut count = 0;
    for (index, (name, case)) in cases().iter().enumerate() {
        if !name.contains(&filter) || (case.embedded_only.is_some() && !embedded) {
            continue;
        }
        count += 1;
        let ns = format!("conformance-{unique}-{index}");
        let group = format!("g{unique}x{index}.conformance.test");
        let saved = BTreeMap::from([("ns".to_owned(), ns), ("group".to_owned(), group)]);
        let mut run = Run {
            client,
            embedded,
            saved,
        };
        if let Err(what) = run.case(case).await {
            failures.push(format!("{name}\n  {what}"));
        }
    }
    assert!(count > 0, "no case matches KUBE_CONFORMANCE_CASE={filter}");
    assert!(
        failures.is_empty(),
        "{} of {count} cases failed:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    println!("{count} cases");
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_embedded_conforms_to_the_suite() {
    let server = Server::start().await;
    run(&Client::of_kubeconfig(&server.kubeconfig).await, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a disposable cluster: KUBE_CONFORMANCE_KUBECONFIG=FILE cargo test -- --ignored"]
async fn real_server_conforms_to_the_suite() {
    let path =
        std::env::var("KUBE_CONFORMANCE_KUBECONFIG").expect("KUBE_CONFORMANCE_KUBECONFIG names a kubeconfig");
    run(&Client::of_kubeconfig(Path::new(&path)).await, false).await;
}
