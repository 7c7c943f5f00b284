//! Environment of cargo when a program that `cargo run` started calls it.
//!
//! `cargo run` sets variables that describe the program's package. A cargo that inherits them passes them on to build
//! scripts. A script that depends on one of them (ring's depends on `CARGO_MANIFEST_DIR`) runs again, and all its
//! dependents are built again, whenever the same build is called from a shell and from such a program in turn.

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

/// Removes those variables if the program `name` is cargo. Variables that the command sets itself stay.
pub(crate) fn remove_package_variables(command: &mut Command, name: &str) {
    if name != "cargo" {
        return;
    }
    let own: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_package_variable) && !own.contains(&name) {
            command.env_remove(name);
        }
    }
}

fn is_package_variable(variable: &str) -> bool {
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
    fn cargo_does_not_inherit_the_package_of_its_parent() {
        // `cargo test` sets the variables, too.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let mut command = Command::new("cargo");
        command.env("CARGO_PKG_NAME", "its own");
        remove_package_variables(&mut command, "cargo");
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
    fn other_programs_inherit_the_package() {
        let mut command = Command::new("xtask");
        remove_package_variables(&mut command, "xtask");
        assert_eq!(command.get_envs().count(), 0);
    }
}
