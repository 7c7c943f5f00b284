//! Cargo below a program that `cargo run` started.
//!
//! `cargo run` tells a program by its environment of which package it is. A cargo that inherits this passes it on to
//! build scripts, and one that watches a variable of these (ring's watches `CARGO_MANIFEST_DIR`) runs again, with a new
//! build of all that depends on it, each time when the same build is called from a shell and then from such a program.

use std::process::Command;

const VARIABLES: [&str; 6] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_CRATE_NAME",
    "CARGO_BIN_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "OUT_DIR",
];
const PREFIXES: [&str; 2] = ["CARGO_PKG_", "CARGO_BIN_EXE_"];

/// Lets cargo, called `name`, begin as from a shell. What the command sets by itself stays.
pub(crate) fn as_from_a_shell(command: &mut Command, name: &str) {
    if name != "cargo" {
        return;
    }
    let own: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_of_a_package) && !own.contains(&name) {
            command.env_remove(name);
        }
    }
}

fn is_of_a_package(variable: &str) -> bool {
    VARIABLES.contains(&variable) || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed(command: &Command) -> Vec<&str> {
        let removed = command.get_envs().filter(|(_, value)| value.is_none());
        removed.filter_map(|(name, _)| name.to_str()).collect()
    }

    #[test]
    fn cargo_does_not_learn_of_which_package_its_caller_is() {
        // `cargo test` tells its tests as `cargo run` tells a program.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let mut command = Command::new("cargo");
        command.env("CARGO_PKG_NAME", "its own");
        as_from_a_shell(&mut command, "cargo");
        let removed = removed(&command);
        assert!(removed.contains(&"CARGO_MANIFEST_DIR") && removed.contains(&"CARGO_PKG_VERSION"));
        assert!(!removed.contains(&"CARGO_PKG_NAME"));
        assert!(
            !["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "PATH"]
                .iter()
                .any(|name| removed.contains(name))
        );
    }

    #[test]
    fn other_programs_learn_it() {
        let mut command = Command::new("xtask");
        as_from_a_shell(&mut command, "xtask");
        assert_eq!(command.get_envs().count(), 0);
    }
}
