//! Errors of the policy's files, each with its location.

use std::fmt;
use std::ops::Range;

use dockerfile::LineIndex;

use crate::model::Location;
use crate::output::text;

/// Errors of a policy or exceptions file.
#[derive(Debug)]
pub(crate) struct PolicyError {
    pub(super) path: String,
    pub(super) text: String,
    pub(super) errors: Vec<(Option<Range<usize>>, String)>,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (span, message)) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            let Some(span) = span else {
                write!(formatter, "{}: {message}", self.path)?;
                continue;
            };
            let (line, column) = LineIndex::new(&self.text).position(&self.text, span.start);
            write!(formatter, "{}:{line}:{column}: {message}", self.path)?;
            let location = Location {
                line,
                column,
                span: span.clone(),
            };
            let shown = text::snippet(&self.text, &location);
            write!(formatter, "\n{}", shown.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}
