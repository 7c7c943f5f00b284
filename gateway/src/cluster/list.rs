//! Reads a list of objects while it arrives, one object at a time: a page of large objects is never in memory.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// Chunks between the connection and the parser.
const CHUNKS: usize = 4;

/// What follows the objects of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// The version of the list.
    pub(super) version: String,
    /// The token of the next page.
    pub(super) next: Option<String>,
}

/// Calls `item` with each object of the list in `body`. Fails when no bytes arrive for `silence`.
pub(super) async fn read(
    mut body: Body,
    silence: Duration,
    item: impl FnMut(&RawValue) + Send + 'static,
) -> anyhow::Result<Page> {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    let parser = tokio::task::spawn_blocking(move || {
        let reader = BufReader::new(Chunks {
            chunks,
            current: io::Cursor::default(),
        });
        let mut deserializer = serde_json::Deserializer::from_reader(reader);
        List(item).deserialize(&mut deserializer)
    });
    loop {
        let frame = tokio::time::timeout(silence, body.frame())
            .await
            .with_context(|| format!("the list stopped for {silence:?}"))?;
        let Some(frame) = frame else {
            break;
        };
        // The receiver is gone when parsing failed.
        if let Ok(data) = frame.context("the list broke off")?.into_data()
            && sender.send(data).await.is_err()
        {
            break;
        }
    }
    drop(sender);
    match parser.await? {
        Ok(page) => Ok(page),
        // The error's own text may quote an object.
        Err(error) => bail!("the list is not valid JSON: {:?} error", error.classify()),
    }
}

/// The `metadata.resourceVersion` of an object.
pub(super) fn version_of(object: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    let object: Object = serde_json::from_slice(object).ok()?;
    Some(object.metadata.resource_version).filter(|version| !version.is_empty())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    resource_version: String,
    r#continue: String,
}

/// Chunks of a response as a reader.
struct Chunks {
    chunks: mpsc::Receiver<bytes::Bytes>,
    current: io::Cursor<bytes::Bytes>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.current.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = io::Cursor::new(chunk),
                None => return Ok(0),
            }
        }
    }
}

/// Deserializes a list by passing each of its items to a function.
struct List<F>(F);

impl<'de, F: FnMut(&RawValue)> DeserializeSeed<'de> for List<F> {
    type Value = Page;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Page, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(&RawValue)> Visitor<'de> for List<F> {
    type Value = Page;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Page, A::Error> {
        let mut page = Page::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "metadata" => {
                    let metadata: Metadata = map.next_value()?;
                    page.version = metadata.resource_version;
                    page.next = Some(metadata.r#continue).filter(|token| !token.is_empty());
                }
                "items" => map.next_value_seed(Items(&mut self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(page)
    }
}

struct Items<'a, F>(&'a mut F);

impl<'de, F: FnMut(&RawValue)> DeserializeSeed<'de> for Items<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Items<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the items of a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            (self.0)(&item);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    async fn read_text(text: &str) -> (anyhow::Result<Page>, Vec<String>) {
        let items = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&items);
        let item = move |object: &RawValue| seen.lock().unwrap().push(object.get().to_owned());
        let page = read(Body::from(text.as_bytes().to_vec()), Duration::from_secs(5), item).await;
        let items = std::mem::take(&mut *items.lock().unwrap());
        (page, items)
    }

    #[tokio::test]
    async fn every_object_is_passed_on_and_the_page_is_known() {
        let text = r#"{"kind":"List","metadata":{"resourceVersion":"7","continue":"t","x":[{}]},"items":[{"a":"]}"}, 7, {"b":[1]}]}"#;
        let (page, items) = read_text(text).await;
        let expected = Page {
            version: "7".to_owned(),
            next: Some("t".to_owned()),
        };
        assert_eq!(page.unwrap(), expected);
        assert_eq!(items, [r#"{"a":"]}"}"#, "7", r#"{"b":[1]}"#]);
    }

    #[tokio::test]
    async fn cut_list_is_an_error_that_quotes_nothing() {
        let (page, items) = read_text(r#"{"items":[{"a":1},{"secret":"#).await;
        let error = page.unwrap_err().to_string();
        assert_eq!(items, [r#"{"a":1}"#]);
        assert!(
            error.contains("not valid JSON") && !error.contains("secret"),
            "{error}"
        );
        assert!(read_text(r#"["secret"]"#).await.0.is_err());
    }
}
