//! Query options of a request.

use crate::status::{Cause, Status};

/// The query of a URL.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the query string.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The value of an option; empty when it is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// All values of an option.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a boolean option is set, as Go parses it.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        match self.0.iter().find(|(key, _)| key == name) {
            Some((_, value)) => !matches!(value.as_str(), "false" | "0"),
            None => false,
        }
    }

    /// An integer option.
    ///
    /// # Errors
    /// 400.
    pub fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = |_| Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"));
        text.parse().map(Some).map_err(wrong)
    }

    /// `resourceVersion`: `None` for the newest.
    ///
    /// # Errors
    /// 400.
    pub fn resource_version(&self) -> Result<Option<u64>, Status> {
        let text = self.get("resourceVersion");
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        })
    }

    /// Whether this is a dry run.
    ///
    /// # Errors
    /// 422 for another value than `All`.
    pub fn dry_run(&self, kind: &str) -> Result<bool, Status> {
        match self.all("dryRun").collect::<Vec<_>>().as_slice() {
            [] | [""] => Ok(false),
            ["All"] => Ok(true),
            other => {
                let value = format!("[]string{{\"{}\"}}", other.join("\", \""));
                let cause = Cause::not_supported("dryRun", &value, &["\"All\"".to_owned()]);
                Err(Status::invalid("meta.k8s.io", kind, "", vec![cause]))
            }
        }
    }
}
