//! A service of the stack: see `common`.

fn main() -> std::process::ExitCode {
    common::main("back")
}
