//! Prints a Dockerfile with each instruction on one line, so that it reads the same again.

use std::fmt;

use crate::parse::Dockerfile;

impl fmt::Display for Dockerfile<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for directive in &self.directives {
            writeln!(formatter, "# {}={}", directive.name, directive.value)?;
        }
        for instruction in &self.instructions {
            writeln!(formatter, "{}", instruction.logical.text())?;
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
