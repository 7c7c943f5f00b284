//! What is told while a verb works: on stderr, a line at a time.

use std::fmt::Display;
use std::io::Write;

/// Tells a line. A reader that went away (`2>&1 | head`, a terminal that was closed) is no reason to stop halfway and
/// leave a cluster behind, as `eprintln!` would.
pub fn eprint_line(line: impl Display) {
    let _gone = writeln!(std::io::stderr().lock(), "{line}");
}
