//! A command as data: printed exactly as it is executed.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// Returns the placeholder for the tag of a service's image, which is known after compiling.
pub(crate) fn tag_of(service: &str) -> String {
    format!("<tag:{service}>")
}

/// A condition: the command succeeds and its output contains `expect`, if given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Test {
    pub(crate) command: Command,
    pub(crate) expect: Option<String>,
}

/// A command as data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Command {
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
}

impl Command {
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            folder: None,
        }
    }

    #[must_use]
    pub(crate) fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub(crate) fn path(self, path: &Path) -> Self {
        self.args([path.display().to_string()])
    }

    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    #[must_use]
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_path_buf());
        self
    }

    /// Condition that this command succeeds.
    pub(crate) fn succeeds(self) -> Test {
        Test {
            command: self,
            expect: None,
        }
    }

    /// Condition that this command succeeds and prints `text`.
    pub(crate) fn prints(self, text: impl Into<String>) -> Test {
        Test {
            command: self,
            expect: Some(text.into()),
        }
    }

    /// Converts to a process, with each word passed through `fill`.
    pub(crate) fn filled(&self, fill: impl Fn(&str) -> String) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(self.args.iter().map(|argument| fill(argument)));
        command.envs(self.env.iter().map(|(name, value)| (name, fill(value))));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&subprocess::Command::new(self.filled(str::to_owned)).command_line())
    }
}
