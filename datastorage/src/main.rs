//! The DataStorage service's program.

use std::process::ExitCode;

/// Events are many small strings: with the C library's allocator a third of the service's time is spent in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    datastorage::main()
}
