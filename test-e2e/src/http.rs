//! Requests and responses that print well when an expectation about them fails.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use reqwest::{Method, Url};
use serde_json::Value;

/// Maximum time to wait for a response.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum characters of a body in a failure.
const SHOWN: usize = 2_000;

/// Sends requests and records the request ids of the responses, by which the services' log lines are found.
#[derive(Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    request_ids: Arc<Mutex<Vec<String>>>,
}

impl Http {
    /// A client with a connection pool of its own.
    pub(crate) fn new() -> Result<Self> {
        // Services restart during the tests: proxies would only add another point of failure.
        let client = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            client,
            request_ids: Arc::default(),
        })
    }

    /// Prepares a request.
    pub(crate) fn request(&self, method: Method, url: impl Into<String>) -> Request {
        Request {
            http: self.clone(),
            method,
            url: url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            deadline: RESPONSE_DEADLINE,
        }
    }

    /// Prepares a GET.
    pub(crate) fn get(&self, url: impl Into<String>) -> Request {
        self.request(Method::GET, url)
    }

    /// Prepares a POST of a JSON document.
    pub(crate) fn post(&self, url: impl Into<String>, body: &Value) -> Request {
        self.request(Method::POST, url).json(body)
    }

    /// The request ids of the latest responses, at most `count`.
    pub(crate) fn latest_request_ids(&self, count: usize) -> Vec<String> {
        let ids = self.request_ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().rev().take(count).cloned().collect()
    }
}

/// A prepared request.
#[derive(Clone)]
pub(crate) struct Request {
    http: Http,
    method: Method,
    url: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    deadline: Duration,
}

impl Request {
    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a query parameter.
    pub(crate) fn query(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// Replaces the default deadline.
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets a JSON body and its Content-Type.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sets the body, without a Content-Type.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The URL with its query.
    fn whole_url(&self) -> Result<Url> {
        let url = if self.query.is_empty() {
            Url::parse(&self.url)
        } else {
            Url::parse_with_params(&self.url, &self.query)
        };
        url.with_context(|| format!("invalid URL {}", self.url))
    }

    /// Sends the request and returns the response, whatever its status.
    ///
    /// # Errors
    /// When there is no complete response: connection refused, reset, deadline exceeded.
    pub(crate) async fn send(self) -> Result<Response> {
        let url = self.whole_url()?;
        let Self {
            http,
            method,
            url: _,
            query: _,
            headers,
            body,
            deadline,
        } = self;
        let began = Instant::now();
        let sent = shown(body.as_deref().unwrap_or_default());
        let mut request = http.client.request(method.clone(), url.clone()).timeout(deadline);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let whole = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            Ok::<_, reqwest::Error>((status, headers, response.bytes().await?))
        };
        let (status, headers, body) = whole.await.with_context(|| {
            format!(
                "no response after {:.0?}\n  {method} {url}\n  request: {sent}",
                began.elapsed()
            )
        })?;
        let headers: BTreeMap<String, String> = headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        if let Some(id) = headers.get("x-request-id") {
            http.request_ids
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(id.clone());
        }
        Ok(Response {
            method,
            url: url.into(),
            sent,
            status,
            headers,
            body: body.to_vec(),
            took: began.elapsed(),
        })
    }
}

/// A response, with the request that it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    method: Method,
    url: String,
    sent: String,
    /// The HTTP status.
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub(crate) body: Vec<u8>,
    /// Time from sending to the last byte.
    pub(crate) took: Duration,
}

impl Response {
    /// Fails unless the condition is met, with an error that shows the response.
    pub(crate) fn ensure(&self, is_met: bool, expectation: impl fmt::Display) -> Result<&Self> {
        if is_met {
            Ok(self)
        } else {
            Err(self.wrong(expectation))
        }
    }

    /// Returns the response if it has this status, otherwise an error that shows it.
    pub(crate) fn expect(self, status: u16) -> Result<Self> {
        self.ensure(self.status == status, format!("expected status {status}"))?;
        Ok(self)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).map_err(|error| self.wrong(format!("expected JSON: {error}")))
    }

    /// The body as text; invalid UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value at a JSON pointer, for instance `/summary/total`.
    pub(crate) fn at(&self, pointer: &str) -> Result<Value> {
        let body = self.json()?;
        body.pointer(pointer)
            .cloned()
            .ok_or_else(|| self.wrong(format!("expected a value at {pointer}")))
    }

    /// The string at a JSON pointer.
    pub(crate) fn text_at(&self, pointer: &str) -> Result<String> {
        match self.at(pointer)? {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(format!("expected a text at {pointer}, found {other}"))),
        }
    }

    /// Fails unless the value at the pointer equals this one.
    pub(crate) fn has(&self, pointer: &str, expected: impl Into<Value>) -> Result<&Self> {
        let (expected, found) = (expected.into(), self.at(pointer)?);
        let expectation = format!("expected {expected} at {pointer}, found {found}");
        self.ensure(found == expected, expectation)
    }

    /// A header by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Fails unless the header has this value.
    pub(crate) fn has_header(&self, name: &str, expected: &str) -> Result<&Self> {
        let found = self.header(name);
        let expectation = format!("expected the header {name}: {expected}, found {found:?}");
        self.ensure(found == Some(expected), expectation)
    }

    /// Fails unless this is an RFC 9457 problem of this status that mentions each of the words.
    pub(crate) fn is_problem(&self, status: u16, mentions: &[&str]) -> Result<&Self> {
        self.ensure(self.status == status, format!("expected status {status}"))?
            .has_header("content-type", "application/problem+json")?
            .has("/status", status)?;
        for field in ["/type", "/title", "/detail", "/instance"] {
            let is_text = !self.text_at(field)?.is_empty();
            self.ensure(is_text, format!("expected a text at {field}"))?;
        }
        let id = self
            .header("x-request-id")
            .ok_or_else(|| self.wrong("expected a header x-request-id"))?;
        self.has("/request_id", id)?;
        let whole = self.text();
        let missing: Vec<_> = mentions.iter().filter(|word| !whole.contains(**word)).collect();
        let expectation = format!("expected the problem to mention {missing:?}");
        self.ensure(missing.is_empty(), expectation)
    }

    /// An error about this response, shown with it.
    pub(crate) fn wrong(&self, expectation: impl fmt::Display) -> anyhow::Error {
        anyhow!("{expectation}\n{self}")
    }
}

impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {} {}", self.method, self.url)?;
        if !self.sent.is_empty() {
            writeln!(out, "  request: {}", self.sent)?;
        }
        writeln!(out, "  response: {} in {:.0?}", self.status, self.took)?;
        for name in ["content-type", "retry-after", "x-request-id"] {
            if let Some(value) = self.header(name) {
                writeln!(out, "    {name}: {value}")?;
            }
        }
        write!(out, "    {}", shown(&self.body))
    }
}

/// The beginning of a body, and its total length.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match text.char_indices().nth(SHOWN) {
        None => text.into_owned(),
        Some((end, _)) => format!("{}… ({} bytes in all)", &text[..end], body.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> Response {
        Response {
            method: Method::POST,
            url: "http://gateway/api".into(),
            sent: r#"{"alerts":[]}"#.into(),
            status,
            headers: BTreeMap::from([
                ("x-request-id".into(), "7".into()),
                ("content-type".into(), "application/problem+json".into()),
            ]),
            body: body.into(),
            took: Duration::from_millis(3),
        }
    }

    #[test]
    fn failed_expectation_shows_request_and_response() {
        let text = response(503, "no way").expect(201).unwrap_err().to_string();
        for part in [
            "expected status 201",
            "POST http://gateway/api",
            r#"{"alerts":[]}"#,
            "503",
            "no way",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn problem_must_be_complete_and_mention_the_field() {
        let whole = r#"{"type":"t","title":"t","detail":"alerts: none","status":400,"instance":"/x","request_id":"7"}"#;
        response(400, whole).is_problem(400, &["alerts"]).unwrap();
        assert!(response(400, whole).is_problem(400, &["labels"]).is_err());
        assert!(response(422, whole).is_problem(400, &[]).is_err());
        assert!(
            response(400, &whole.replace("\"7\"", "\"8\""))
                .is_problem(400, &[])
                .is_err()
        );
        assert!(
            response(400, &whole.replace("/x", ""))
                .is_problem(400, &[])
                .is_err()
        );
    }

    #[test]
    fn compares_values_by_pointer() {
        let response = response(201, r#"{"metadata":{"count":5}}"#);
        response.has("/metadata/count", 5).unwrap();
        assert!(
            response
                .has("/metadata/count", 4)
                .unwrap_err()
                .to_string()
                .contains("found 5")
        );
        assert!(response.has("/count", 5).is_err());
    }

    #[test]
    fn encodes_query_values() {
        let request = Http::new()
            .unwrap()
            .get("http://d/e")
            .query("since", "2026-01-01T00:00:00+01:00")
            .query("a", 1);
        assert_eq!(
            request.whole_url().unwrap().as_str(),
            "http://d/e?since=2026-01-01T00%3A00%3A00%2B01%3A00&a=1"
        );
    }

    #[test]
    fn cuts_a_long_body_at_a_character() {
        let text = shown("ü".repeat(SHOWN + 1).as_bytes());
        assert!(
            text.ends_with(&format!("… ({} bytes in all)", 2 * (SHOWN + 1))),
            "{text}"
        );
    }
}
