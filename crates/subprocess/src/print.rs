//! Progress messages on stderr.

use std::fmt::Display;
use std::io::Write;

/// Prints a line to stderr. Does not panic, as `eprintln!` does, when stderr is closed (`2>&1 | head`, a closed
/// terminal): the run would end halfway and leave its cluster.
pub fn eprint_line(line: impl Display) {
    let _gone = writeln!(std::io::stderr().lock(), "{line}");
}
