//! The verbs get and list.

use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Api, Call, Content, Response};
use crate::selector::Selector;
use crate::status::{Cause, Status};
use crate::store::{Entry, Key, Snapshot};

/// A list of objects.
#[derive(Debug)]
pub struct List {
    /// The objects.
    pub entries: Vec<Arc<Entry>>,
    /// resourceVersion of the list.
    pub revision: u64,
    /// Start of the next page; empty on the last page.
    pub next: String,
    /// Number of objects after this page, if known.
    pub remaining: Option<usize>,
}

impl Api {
    /// Returns one object.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, call: &Call) -> Result<Response, Status> {
        if let Some(wanted) = call.query.resource_version()? {
            self.check_not_future(wanted)?;
        }
        let entry = self
            .store
            .get(&call.resource.table, &call.key())
            .ok_or_else(|| call.not_found())?;
        Ok(Response::entry(200, entry))
    }

    /// Returns the objects of a collection, in pages if requested.
    ///
    /// # Errors
    /// 400 for invalid options, 410 for a version that is no longer available, 504 for one in the future.
    pub fn list(&self, call: &Call) -> Result<Response, Status> {
        let query = &call.query;
        let selector = Selector::parse(
            query.get("labelSelector"),
            query.get("fieldSelector"),
            &call.resource,
        )?;
        let limit = query
            .number("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|&limit| limit > 0);
        let (snapshot, start) = self.start_of_list(call, limit)?;
        let list = select(&snapshot, &call.namespace, start, &selector, limit);
        Ok(Response {
            code: 200,
            content: Content::List(list),
            warnings: Vec::new(),
        })
    }

    /// Returns the objects to list, and the key after which to begin.
    fn start_of_list(&self, call: &Call, limit: Option<usize>) -> Result<(Snapshot, Option<Key>), Status> {
        let query = &call.query;
        let table = &call.resource.table;
        let wanted = query.resource_version()?;
        let matching = query.get("resourceVersionMatch");
        check_match(matching, wanted, query.get("continue"))?;
        if !query.get("continue").is_empty() {
            if wanted.is_some_and(|wanted| wanted != 0) {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            let (revision, key) = decode_continue(query.get("continue"))?;
            let snapshot = self.store.snapshot_at(table, revision).map_err(|_| {
                Status::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.")
            })?;
            return Ok((snapshot, Some(key)));
        }
        let Some(wanted) = wanted.filter(|&wanted| wanted != 0) else {
            return Ok((self.store.snapshot(table), None));
        };
        self.check_not_future(wanted)?;
        // With a limit and no match the real server uses the exact version, for compatibility with old clients.
        if matching == "Exact" || (matching.is_empty() && limit.is_some()) {
            let too_old = |oldest| {
                Status::expired(format!(
                    "The resourceVersion for the provided list is too old ({wanted}, oldest is {oldest})."
                ))
            };
            return Ok((self.store.snapshot_at(table, wanted).map_err(too_old)?, None));
        }
        Ok((self.store.snapshot(table), None))
    }

    pub(super) fn check_not_future(&self, wanted: u64) -> Result<(), Status> {
        let current = self.store.revision();
        if wanted <= current {
            return Ok(());
        }
        let message = format!("Timeout: Too large resource version: {wanted}, current: {current}");
        let mut status = Status::plain(504, "Timeout", message).cause(Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".into(),
            field: String::new(),
        });
        if let Some(details) = &mut status.details {
            details.retry_after_seconds = Some(1);
        }
        Err(status)
    }
}

fn check_match(matching: &str, wanted: Option<u64>, token: &str) -> Result<(), Status> {
    let forbid = |detail: &str| {
        let cause = Cause::forbidden("resourceVersionMatch", detail);
        Err(Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause]))
    };
    match (matching, wanted) {
        ("", _) => Ok(()),
        _ if !token.is_empty() => forbid("resourceVersionMatch is forbidden when continue is provided"),
        (_, None) => forbid("resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("Exact", Some(0)) => forbid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
        ("Exact" | "NotOlderThan", _) => Ok(()),
        (other, _) => {
            let supported = [
                "\"Exact\"".to_owned(),
                "\"NotOlderThan\"".to_owned(),
                "\"\"".to_owned(),
            ];
            let cause = Cause::not_supported("resourceVersionMatch", &format!("\"{other}\""), &supported);
            Err(Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause]))
        }
    }
}

/// The objects of a namespace, or of all, in order.
pub(super) fn in_namespace<'a>(
    snapshot: &'a Snapshot,
    namespace: &'a str,
    after: Option<Key>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let start = match after {
        Some(key) => Bound::Excluded(key),
        None if namespace.is_empty() => Bound::Unbounded,
        None => Bound::Included(Key::new(namespace, "")),
    };
    let range = snapshot.entries.range((start, Bound::Unbounded));
    let range = range.map(|(_, entry)| entry);
    range.take_while(move |entry| namespace.is_empty() || &*entry.key.namespace == namespace)
}

fn select(
    snapshot: &Snapshot,
    namespace: &str,
    after: Option<Key>,
    selector: &Selector,
    limit: Option<usize>,
) -> List {
    let mut list = List {
        entries: Vec::new(),
        revision: snapshot.revision,
        next: String::new(),
        remaining: None,
    };
    let mut entries = in_namespace(snapshot, namespace, after).filter(|entry| selector.matches(entry));
    match limit {
        None => list.entries.extend(entries.cloned()),
        Some(limit) => {
            list.entries.extend(entries.by_ref().take(limit).cloned());
            let rest = entries.count();
            if let (true, Some(last)) = (rest > 0, list.entries.last()) {
                list.next = encode_continue(snapshot.revision, &last.key);
                list.remaining = selector.is_empty().then_some(rest);
            }
        }
    }
    list
}

fn encode_continue(revision: u64, key: &Key) -> String {
    URL_SAFE_NO_PAD.encode(
        json!({"v": "meta.k8s.io/v1", "rv": revision, "after": [&*key.namespace, &*key.name]}).to_string(),
    )
}

fn decode_continue(token: &str) -> Result<(u64, Key), Status> {
    let invalid = |what: &str| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {what}"
        ))
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| invalid("illegal base64 data at input byte 0"))?;
    let parsed: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
    let text = |pointer: &str| parsed.pointer(pointer).and_then(Value::as_str);
    match (
        parsed.get("rv").and_then(Value::as_u64),
        text("/after/0"),
        text("/after/1"),
    ) {
        (Some(revision), Some(namespace), Some(name)) => Ok((revision, Key::new(namespace, name))),
        _ => Err(invalid("not one of this server")),
    }
}
