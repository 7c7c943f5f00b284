//! Bodies of lists, written in chunks while they are sent: a list of any length needs a bounded memory.

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::Bytes;
use serde_json::{Value, json};

use super::response::{Form, Shape};
use crate::api::{List, shown_as_stored, without_kind};
use crate::resources::Resource;
use crate::store::Entry;
use crate::table;

/// Size from which a chunk is sent.
pub(super) const CHUNK: usize = 64 * 1024;

/// The chunks of a list.
#[derive(Debug)]
pub(super) struct Chunks {
    resource: Arc<Resource>,
    form: Form,
    entries: IntoIter<Arc<Entry>>,
    /// The bytes before the next item.
    separator: Vec<u8>,
    /// A chunk that was written already.
    ready: Option<Bytes>,
    ended: bool,
}

impl Chunks {
    pub(super) fn new(resource: &Arc<Resource>, form: Form, list: List) -> Self {
        let mut metadata = list_metadata(&list);
        if resource.custom && form.shape == Shape::Object && list.next.is_empty() {
            // The real server's lists of custom objects have all keys.
            metadata["continue"] = "".into();
        }
        let meta = "meta.k8s.io/v1";
        let (head, items) = match form.shape {
            Shape::Object => (
                json!({"kind": resource.list_kind, "apiVersion": resource.api_version()}),
                "items",
            ),
            Shape::Metadata => (
                json!({"kind": "PartialObjectMetadataList", "apiVersion": meta}),
                "items",
            ),
            Shape::Table => {
                let columns = table::columns(resource);
                (
                    json!({"kind": "Table", "apiVersion": meta, "columnDefinitions": columns}),
                    "rows",
                )
            }
        };
        let separator = match form.yaml {
            true => yaml_head(&head, &metadata, items, list.entries.is_empty()),
            false => json_head(&head, &metadata, items),
        };
        Self {
            resource: Arc::clone(resource),
            form,
            entries: list.entries.into_iter(),
            separator: separator.into_bytes(),
            ready: None,
            ended: false,
        }
    }

    /// Whether the last chunk was returned.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Puts a chunk back.
    pub(super) fn starting_with(self, chunk: Bytes) -> Self {
        let ready = Some(chunk);
        Self { ready, ..self }
    }

    pub(super) fn media_type(&self) -> &'static str {
        if self.form.yaml {
            "application/yaml"
        } else {
            "application/json"
        }
    }

    fn write(&self, entry: &Entry, out: &mut Vec<u8>) {
        let resource = &self.resource;
        if self.form.yaml {
            // A list of one item, in the same column as the key of the whole list.
            out.extend_from_slice(yaml(&json!([self.form.item(resource, entry)])).as_bytes());
            return;
        }
        let is_plain = self.form.shape == Shape::Object && shown_as_stored(resource);
        if is_plain && resource.custom {
            out.extend_from_slice(&entry.body);
        } else if is_plain {
            out.push(b'{');
            out.extend_from_slice(entry.rest());
        } else {
            out.extend_from_slice(self.form.item(resource, entry).to_string().as_bytes());
        }
    }
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        if self.ended {
            return None;
        }
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK {
            chunk.append(&mut self.separator);
            let Some(entry) = self.entries.next() else {
                self.ended = true;
                chunk.extend_from_slice(if self.form.yaml { b"" } else { b"]}" });
                break;
            };
            self.write(&entry, &mut chunk);
            if self.entries.len() > 0 && !self.form.yaml {
                self.separator.push(b',');
            }
        }
        Some(chunk.into())
    }
}

/// The keys of a list before its items.
fn json_head(head: &Value, metadata: &Value, items: &str) -> String {
    let mut text = "{".to_owned();
    for key in ["kind", "apiVersion"] {
        text.push_str(&format!("\"{key}\":{},", head[key]));
    }
    text.push_str(&format!("\"metadata\":{metadata},"));
    if let Some(columns) = head.get("columnDefinitions") {
        text.push_str(&format!("\"columnDefinitions\":{columns},"));
    }
    text + &format!("\"{items}\":[")
}

fn yaml_head(head: &Value, metadata: &Value, items: &str, is_empty: bool) -> String {
    let mut head = head.clone();
    head["metadata"] = metadata.clone();
    let none = if is_empty { " []" } else { "" };
    yaml(&head) + &format!("{items}:{none}\n")
}

/// A value as YAML; its maps have no keys but strings, so that it can be written.
fn yaml(value: &Value) -> String {
    let mut text = serde_saphyr::to_string(value).unwrap_or_default();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

impl Form {
    /// An item of a list.
    pub(super) fn item(self, resource: &Resource, entry: &Entry) -> Value {
        match self.shape {
            Shape::Object => without_kind(resource, entry),
            Shape::Metadata => table::partial(&crate::api::presented(resource, entry)),
            Shape::Table => table::row(resource, &crate::api::presented(resource, entry), self.include),
        }
    }
}

fn list_metadata(list: &List) -> Value {
    let mut metadata = json!({"resourceVersion": list.revision.to_string()});
    if !list.next.is_empty() {
        metadata["continue"] = list.next.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Query;
    use crate::resources::Registry;
    use crate::store::{Key, Store};

    fn listed(accept: &str) -> (Vec<Bytes>, Value) {
        let store = Store::new(10);
        for index in 0..300 {
            let name = format!("n{index:03}");
            let object = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}, "x": "y".repeat(1000)});
            store.create("nodes", Key::new("", &name), object, &[]).unwrap();
        }
        let list = List {
            entries: store.snapshot("nodes").entries.values().cloned().collect(),
            revision: 1,
            next: String::new(),
            remaining: None,
        };
        let served = Registry::new().served();
        let form = Form::of(accept, &Query::parse("includeObject=Object")).unwrap();
        let chunks: Vec<Bytes> = Chunks::new(served.find("", "v1", "nodes").unwrap(), form, list).collect();
        let whole = match accept {
            "application/yaml" => serde_saphyr::from_str(str::from_utf8(&chunks.concat()).unwrap()).unwrap(),
            _ => serde_json::from_slice(&chunks.concat()).unwrap(),
        };
        (chunks, whole)
    }

    #[test]
    fn long_list_is_written_in_chunks() {
        for (accept, items) in [
            ("", "items"),
            ("application/yaml", "items"),
            (
                "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
                "items",
            ),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", "rows"),
        ] {
            let (chunks, whole) = listed(accept);
            assert_eq!(whole[items].as_array().map(Vec::len), Some(300), "{accept}");
            assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK + 2000), "{accept}");
            assert!(accept.contains("Partial") || chunks.len() > 4, "{accept}");
        }
    }

    #[test]
    fn items_have_no_kind() {
        let (_, whole) = listed("");
        let item = &whole["items"][299];
        assert_eq!(item["metadata"]["name"], "n299");
        assert!(item.get("kind").is_none() && item.get("apiVersion").is_none());
    }
}
