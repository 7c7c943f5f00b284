//! Values of variables in `FROM`: the `ARG`s before it, and the front end's own.

use std::collections::BTreeMap;

use crate::keyword::Keyword;
use crate::parse::Dockerfile;
use crate::references::BuildArguments;
use crate::shell::Environment;
use crate::stages::stage_name;

/// The arguments that the front end sets itself, except for the stage that is built.
const PLATFORM: [(&str, &str); 10] = [
    ("BUILDPLATFORM", "linux/amd64"),
    ("BUILDOS", "linux"),
    ("BUILDOSVERSION", ""),
    ("BUILDARCH", "amd64"),
    ("BUILDVARIANT", ""),
    ("TARGETPLATFORM", "linux/amd64"),
    ("TARGETOS", "linux"),
    ("TARGETOSVERSION", ""),
    ("TARGETARCH", "amd64"),
    ("TARGETVARIANT", ""),
];
const TARGET_STAGE: &str = "TARGETSTAGE";

/// Values by name. The front end's own are computed on demand: few files use them.
pub(crate) struct Variables<'a> {
    set: BTreeMap<String, String>,
    given: &'a BuildArguments,
    target: Option<String>,
}

impl<'a> Variables<'a> {
    pub(crate) fn new(file: &Dockerfile<'_>, given: &'a BuildArguments) -> Self {
        let mut stages = file.instructions.iter().rev();
        let target = stages.find(|each| each.keyword() == Keyword::From);
        Variables {
            set: BTreeMap::new(),
            given,
            target: target.and_then(stage_name),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.set.insert(name.to_owned(), value);
    }
}

impl Environment for Variables<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        if let Some(value) = self.set.get(name) {
            return Some(value);
        }
        let default = match name {
            TARGET_STAGE => self.target.as_deref().unwrap_or("default"),
            name => PLATFORM.iter().find(|(known, _)| *known == name)?.1,
        };
        Some(self.given.get(name).map_or(default, String::as_str))
    }
}
