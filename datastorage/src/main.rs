//! The DataStorage service's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    datastorage::main()
}
