//! Prints a Dockerfile with each instruction on one line, so that it reads the same again.

use std::fmt;

use crate::parse::Dockerfile;

impl fmt::Display for Dockerfile<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for directive in &self.directives {
            writeln!(formatter, "# {}={}", directive.name, directive.value)?;
        }
        let first = self
            .instructions
            .first()
            .map(|instruction| instruction.logical.text().trim_start());
        if self.directives.is_empty() && first.is_some_and(|text| text.starts_with('\u{feff}')) {
            // The first mark of a file is dropped, and this one is not the first.
            formatter.write_str("\u{feff}")?;
        }
        for instruction in &self.instructions {
            match instruction.logical.text().trim_start() {
                // An escape character on the last line and nothing behind it: an instruction, to the front end.
                "" => writeln!(formatter, "{}", self.escape)?,
                text => writeln!(formatter, "{text}")?,
            }
            for heredoc in &instruction.heredocs {
                let content = &self.source[heredoc.span.clone()];
                formatter.write_str(content)?;
                if heredoc.terminated {
                    writeln!(formatter, "{}", heredoc.name)?;
                }
            }
        }
        Ok(())
    }
}
