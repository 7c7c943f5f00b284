//! Commands as shell command lines.

use std::process;

/// Returns the command with its folder and the environment that it sets, quoted for a POSIX shell. Values of variables
/// named like secrets are left out: the text goes to logs and reports.
pub(crate) fn shell(command: &process::Command, user: Option<(u32, u32)>) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir() {
        words.push(format!("cd {} &&", quote(&folder.to_string_lossy())));
    }
    if let Some((user, _)) = user {
        words.push(format!("setpriv --reuid={user}"));
    }
    let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).collect();
    if !removed.is_empty() {
        words.push("env".to_owned());
        words.extend(
            removed
                .iter()
                .map(|(name, _)| format!("-u {}", quote(&name.to_string_lossy()))),
        );
    }
    for (name, value) in command.get_envs() {
        let name = name.to_string_lossy();
        match value {
            Some(_) if is_secret(&name) => words.push(format!("{name}=…")),
            Some(value) => words.push(format!("{name}={}", quote(&value.to_string_lossy()))),
            None => {}
        }
    }
    words.push(quote(&command.get_program().to_string_lossy()));
    words.extend(
        command
            .get_args()
            .map(|argument| quote(&argument.to_string_lossy())),
    );
    words.join(" ")
}

fn quote(word: &str) -> String {
    // Only a word with NUL cannot be quoted, and a command with NUL cannot be started.
    shlex::try_quote(word).map_or_else(|_| format!("{word:?}"), |quoted| quoted.into_owned())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASSWORD", "SECRET", "TOKEN", "CREDENTIAL"]
        .iter()
        .any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_can_be_pasted_into_a_shell() {
        let mut command = process::Command::new("podman");
        command
            .args(["run", "--env", "GREETING=it's me", ""])
            .current_dir("/tmp/a folder");
        command
            .env("CONTAINER_HOST", "unix:///run/a b")
            .env_remove("DEBUG");
        assert_eq!(
            shell(&command, None),
            "cd '/tmp/a folder' && env -u DEBUG CONTAINER_HOST='unix:///run/a b' podman run --env \"GREETING=it's me\" ''"
        );
    }

    #[test]
    fn secrets_are_left_out() {
        let mut command = process::Command::new("psql");
        command.env("PGPASSWORD", "hunter2");
        assert_eq!(shell(&command, None), "PGPASSWORD=… psql");
    }
}
