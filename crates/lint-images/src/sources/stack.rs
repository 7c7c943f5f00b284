//! Images and Dockerfiles that a TOML file names: the stack.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::allowances;
use crate::model::{File, NoImage, NotJudged, Places, Role, Use};
use crate::policy::Policy;

/// Where images and Dockerfiles are in a stack file that the policy says nothing of.
const IMAGES: [&[&str]; 2] = [&["components", "*", "image"], &["images", "*"]];
const DOCKERFILES: [&[&str]; 2] = [&["services", "*", "dockerfile"], &["build", "dockerfile"]];

pub(crate) fn read(file: &mut File, text: &str, policy: &Policy) {
    let places = Places::new(text);
    file.allowances = allowances(text);
    match DeTable::parse(text) {
        Err(error) => {
            let line = error.span().map(|span| places.place(span).line);
            file.not_judged.push(NotJudged {
                line,
                reason: format!("no TOML: {}", error.message()),
                unreadable: true,
            });
        }
        Ok(table) => {
            let stack = policy.stacks.iter().find(|stack| stack.file == file.path);
            let owned = |keys: &[&[&str]]| {
                keys.iter()
                    .map(|key| key.iter().map(|part| (*part).to_owned()).collect())
                    .collect::<Vec<Vec<String>>>()
            };
            let (images, dockerfiles) = match stack {
                Some(stack) => (stack.images.clone(), stack.dockerfiles.clone()),
                None => (owned(&IMAGES), owned(&DOCKERFILES)),
            };
            for key in images {
                each(table.get_ref(), &key, "", &mut |_, value, span| {
                    file.uses.push(image_use(value, span, &places));
                });
            }
            for key in dockerfiles {
                each(table.get_ref(), &key, "", &mut |name, value, span| {
                    file.dockerfiles
                        .push((name.to_owned(), value.to_owned(), places.place(inner(span))));
                });
            }
        }
    }
    file.uses.sort_by_key(|each| each.place.span.start);
}

/// A value's span without its quotes.
fn inner(span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    if span.len() >= 2 {
        span.start + 1..span.end - 1
    } else {
        span
    }
}

fn image_use(value: &str, span: std::ops::Range<usize>, places: &Places<'_>) -> Use {
    let place = places.place(inner(span));
    Use {
        line: place.line,
        place,
        kind: "workload",
        role: Role::Workload,
        stage: None,
        raw: value.to_owned(),
        expanded: Some(value.to_owned()),
        image: value
            .parse()
            .map_err(|error: dockerfile::ReferenceError| NoImage::Illegal(error.to_string())),
        literal: true,
    }
}

/// Calls `found` with each string at a key (`*` is any part) and the name of what it is in.
fn each(
    table: &DeTable<'_>,
    key: &[String],
    name: &str,
    found: &mut dyn FnMut(&str, &str, std::ops::Range<usize>),
) {
    let Some((first, rest)) = key.split_first() else {
        return;
    };
    for (part, value) in table
        .iter()
        .filter(|(part, _)| first == "*" || part.get_ref().as_ref() == first)
    {
        let name = if first == "*" || name.is_empty() {
            part.get_ref().as_ref()
        } else {
            name
        };
        deeper(value, rest, name, found);
    }
}

fn deeper(
    value: &Spanned<DeValue<'_>>,
    key: &[String],
    name: &str,
    found: &mut dyn FnMut(&str, &str, std::ops::Range<usize>),
) {
    match (value.get_ref(), key) {
        (DeValue::String(text), []) => found(name, text, value.span()),
        (DeValue::Table(table), key) => each(table, key, name, found),
        (DeValue::Array(values), key) => values.iter().for_each(|value| deeper(value, key, name, found)),
        _ => {}
    }
}
