//! Stack files: TOML files that refer to images and Dockerfiles.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::allowances;
use crate::model::{File, ImageError, Locations, Role, Skipped, Use};
use crate::policy::Policy;

/// Default keys of images and Dockerfiles, for stack files that the policy does not list.
const IMAGES: [&[&str]; 2] = [&["components", "*", "image"], &["images", "*"]];
const DOCKERFILES: [&[&str]; 2] = [&["services", "*", "dockerfile"], &["build", "dockerfile"]];

pub(crate) fn read(file: &mut File, text: &str, policy: &Policy) {
    let locations = Locations::new(text);
    file.allowances = allowances(text);
    match DeTable::parse(text) {
        Err(error) => {
            let line = error.span().map(|span| locations.of(span).line);
            file.skipped.push(Skipped {
                line,
                reason: format!("invalid TOML: {}", error.message()),
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
                visit_table(table.get_ref(), &key, "", &mut |_, value, span| {
                    file.uses.push(image_use(value, span, &locations));
                });
            }
            for key in dockerfiles {
                visit_table(table.get_ref(), &key, "", &mut |name, value, span| {
                    file.dockerfiles
                        .push((name.to_owned(), value.to_owned(), locations.of(inner(span))));
                });
            }
        }
    }
    file.uses.sort_by_key(|each| each.location.span.start);
}

/// Returns a value's span without its quotes.
fn inner(span: std::ops::Range<usize>) -> std::ops::Range<usize> {
    if span.len() >= 2 {
        span.start + 1..span.end - 1
    } else {
        span
    }
}

fn image_use(value: &str, span: std::ops::Range<usize>, locations: &Locations<'_>) -> Use {
    let location = locations.of(inner(span));
    Use {
        line: location.line,
        location,
        kind: "workload",
        role: Role::Workload,
        stage: None,
        raw: value.to_owned(),
        expanded: Some(value.to_owned()),
        image: value
            .parse()
            .map_err(|error: dockerfile::ReferenceError| ImageError::Invalid(error.to_string())),
        literal: true,
        tag_set_by: None,
        variables: Vec::new(),
    }
}

/// Calls `found` with each string at a key (`*` matches any segment) and the name of the entry that contains it.
fn visit_table(
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
        visit_value(value, rest, name, found);
    }
}

fn visit_value(
    value: &Spanned<DeValue<'_>>,
    key: &[String],
    name: &str,
    found: &mut dyn FnMut(&str, &str, std::ops::Range<usize>),
) {
    match (value.get_ref(), key) {
        (DeValue::String(text), []) => found(name, text, value.span()),
        (DeValue::Table(table), key) => visit_table(table, key, name, found),
        (DeValue::Array(values), key) => values
            .iter()
            .for_each(|value| visit_value(value, key, name, found)),
        _ => {}
    }
}
