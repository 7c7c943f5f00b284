//! Parser of XML into a list of elements.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// An element with its attributes and text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Text of the element, without that of its children.
    pub(crate) text: String,
    /// Indices of its ancestors, outermost first.
    pub(crate) around: Vec<usize>,
}

/// Returns all elements in the order of the document; panics if the text is not XML.
pub(crate) fn elements(text: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(text);
    let mut found: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                found.push(element(&tag, &open));
                open.push(found.len() - 1);
            }
            Event::Empty(tag) => found.push(element(&tag, &open)),
            Event::End(_) => {
                open.pop().unwrap();
            }
            Event::Text(text) => {
                if let Some(&inner) = open.last() {
                    found[inner].text.push_str(&text.decode().unwrap());
                }
            }
            Event::CData(text) => {
                if let Some(&inner) = open.last() {
                    found[inner].text.push_str(&text.decode().unwrap());
                }
            }
            Event::GeneralRef(reference) => {
                let escaped = format!("&{};", reference.decode().unwrap());
                let inner = *open.last().unwrap();
                found[inner]
                    .text
                    .push_str(&quick_xml::escape::unescape(&escaped).unwrap());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty());
    let is_allowed = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t' | '\r');
    assert!(
        text.chars().all(is_allowed),
        "XML 1.0 does not allow control characters"
    );
    found
}

fn element(tag: &BytesStart<'_>, around: &[usize]) -> Element {
    let attributes = tag.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let value = String::from_utf8(attribute.value.to_vec()).unwrap();
        let name = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
        (name, quick_xml::escape::unescape(&value).unwrap().into_owned())
    });
    Element {
        name: String::from_utf8(tag.name().as_ref().to_vec()).unwrap(),
        attributes: attributes.collect(),
        text: String::new(),
        around: around.to_vec(),
    }
}

impl Element {
    pub(crate) fn get(&self, attribute: &str) -> &str {
        self.attributes
            .get(attribute)
            .unwrap_or_else(|| panic!("no {attribute} in {self:?}"))
    }

    pub(crate) fn number(&self, attribute: &str) -> f64 {
        self.get(attribute).parse().unwrap()
    }

    pub(crate) fn has_class(&self, class: &str) -> bool {
        self.attributes
            .get("class")
            .is_some_and(|classes| classes.split(' ').any(|one| one == class))
    }
}
