//! The stack as data: reads and validates `deploy/stack.toml`.
//!
//! All problems of the file are reported at once, before anything starts, each with line and column ([`Problem`]).

mod check;
mod model;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

pub(crate) use model::{Embedded, Port, Stack, shown};

/// A problem of a stack file, with its position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
}

/// All problems of a stack file.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) file: PathBuf,
    pub(crate) problems: Vec<Problem>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (
            index,
            Problem {
                line,
                column,
                message,
            },
        ) in self.problems.iter().enumerate()
        {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{line}:{column}: {message}", self.file.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Reads and validates a stack file. Its paths are relative to its folder.
pub(crate) fn read(file: &Path) -> Result<Stack, Invalid> {
    let invalid = |problems| Invalid {
        file: file.to_path_buf(),
        problems,
    };
    let text = fs::read_to_string(file).map_err(|error| {
        invalid(vec![Problem {
            line: 1,
            column: 1,
            message: format!("cannot read the file: {error}"),
        }])
    })?;
    let folder = file.parent().unwrap_or(Path::new("."));
    parse(&text, folder).map_err(invalid)
}

fn parse(text: &str, folder: &Path) -> Result<Stack, Vec<Problem>> {
    let mut stack: Stack = toml::from_str(text).map_err(|error| {
        let (line, column) = position(text, error.span().map_or(0, |span| span.start));
        vec![Problem {
            line,
            column,
            message: error.message().trim().to_owned(),
        }]
    })?;
    stack.folder = folder.to_path_buf();
    let problems = check::problems(&stack, text);
    if problems.is_empty() {
        Ok(stack)
    } else {
        Err(problems)
    }
}

/// Returns line and column (both from 1, the column in characters) of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests;
