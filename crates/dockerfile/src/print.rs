//! Prints a Dockerfile with each instruction on one line, so that it parses to the same instructions.

use std::fmt;

use crate::directive::Directive;
use crate::parse::{Dockerfile, without_escape};

impl fmt::Display for Dockerfile<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let printed = self.print_head(formatter)?;
        for instruction in self.instructions.iter().filter(|it| it.line > printed) {
            let text = instruction.logical.text().trim_start();
            formatter.write_str(text)?;
            // The last instruction of a file may end with what continues a line: `RUN a \ \` without a line behind it.
            // One more escape character is then the one that is taken off. Nothing but such a character is an
            // instruction too, to the front end.
            if text.is_empty() || without_escape(text.trim_end_matches('\r'), self.escape).1 {
                write!(formatter, "{}", self.escape)?;
            }
            formatter.write_str("\n")?;
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

impl Dockerfile<'_> {
    /// Prints what precedes the first instruction and has a meaning there; returns the number of source lines that
    /// are printed unchanged with it.
    fn print_head(&self, formatter: &mut fmt::Formatter<'_>) -> Result<usize, fmt::Error> {
        // A leading blank matters: such a directive counts, but selects no front end.
        for directive in &self.directives {
            writeln!(formatter, "{}", self.line_of(directive))?;
        }
        if !self.directives.is_empty() {
            return Ok(0);
        }
        if let Some(syntax) = &self.syntax {
            let last = self.last_line_of_front_end(syntax);
            for line in self.source.lines().take(last) {
                writeln!(formatter, "{line}")?;
            }
            return Ok(last);
        }
        let first = self.instructions.first();
        match first.and_then(|instruction| instruction.logical.text().trim_start().chars().next()) {
            // The first byte order mark of a file is dropped, and this one is not the first.
            Some('\u{feff}') => formatter.write_str("\u{feff}")?,
            // Without the comments that preceded it, this could select a front end.
            Some('/' | '{') => formatter.write_str("#\n")?,
            _ => {}
        }
        Ok(0)
    }

    /// The last line of the front end's selection, where that is not a directive: `# syntax=` after `#!`, `// syntax=`
    /// (which the rest reads as an instruction that may go on), a whole JSON document.
    fn last_line_of_front_end(&self, syntax: &Directive) -> usize {
        let line = self.line_of(syntax).trim_start_matches('\u{feff}');
        if !line.starts_with(['#', '/']) {
            return usize::MAX;
        }
        let before = self.instructions.iter().filter(|it| it.line <= syntax.line);
        before
            .map(|it| it.end_line)
            .max()
            .unwrap_or_default()
            .max(syntax.line)
    }

    fn line_of(&self, directive: &Directive) -> &str {
        let start = self.source[..directive.span.start]
            .rfind('\n')
            .map_or(0, |end| end + 1);
        let rest = &self.source[start..];
        rest.split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }
}
