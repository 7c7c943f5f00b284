//! The measured workspace: its folders, and the programs that are built from it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::children;

/// Maximum time of a build, on a slow machine with nothing built before.
pub(crate) const BUILD_LIMIT: Duration = Duration::from_secs(3600);

/// Returns the root of the workspace of the current folder: the nearest ancestor with a lock file, or else the workspace
/// that this program was compiled from.
pub(crate) fn root() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let root = here
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file());
    let compiled_from = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.or(compiled_from).unwrap_or(&here).to_owned()
}

/// Returns the target folder of the workspace.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(folder)
}

/// Returns the cargo that runs this program.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds one program of the workspace by `cargo build ARGUMENTS` and returns its path.
pub(crate) fn build_one(arguments: &[&str]) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new(cargo());
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    cargo.args(arguments).current_dir(root());
    let output = children::capture(cargo, BUILD_LIMIT)?;
    executables(&output.stdout)
        .pop()
        .with_context(|| format!("cargo build {} reported no executable", arguments.join(" ")))
}

/// Paths of the programs in cargo's messages, one JSON object per line.
fn executables(messages: &[u8]) -> Vec<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| {
            let message: serde_json::Value = serde_json::from_slice(line).ok()?;
            Some(PathBuf::from(message.get("executable")?.as_str()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_paths_of_programs_from_cargo_messages() {
        let messages = br#"{"reason":"compiler-artifact","executable":null}
{"reason":"compiler-artifact","executable":"/target/debug/xtask"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executables(messages), [PathBuf::from("/target/debug/xtask")]);
    }
}
