//! `--help` of every verb, and completions in a real shell.

#![cfg(test)]

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments).env("COLUMNS", "100").output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the verbs that `--help` lists.
fn verbs() -> Vec<String> {
    let page = text(&xtask(&["--help"]));
    let listed = page.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .filter(|verb| verb != "help")
        .collect()
}

#[test]
fn every_verb_has_a_summary_and_a_text_for_each_option() {
    let verbs = verbs();
    for expected in ["e2e", "doctor", "merge-reports", "completions", "lint-images"] {
        assert!(
            verbs.iter().any(|verb| verb == expected),
            "{expected} is not in {verbs:?}"
        );
    }
    for verb in &verbs {
        let page = text(&xtask(&[verb, "--help"]));
        let first = page.lines().next().unwrap();
        assert!(
            first.len() > 20 && first.starts_with(char::is_uppercase),
            "{verb}: {first}"
        );
        let lines: Vec<&str> = page.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let option = line.trim_start();
            if option.starts_with("--") && !option.contains("  ") {
                let explained = lines.get(index + 1).is_some_and(|next| !next.trim().is_empty());
                assert!(explained, "{verb}: no text for {option}\n{page}");
            }
        }
    }
}

#[test]
fn an_installed_runner_starts_the_linter_installed_beside_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let installed = folder.path().join("xtask");
    std::fs::hard_link(env!("CARGO_BIN_EXE_xtask"), &installed).unwrap();
    let lint = || {
        let mut command = Command::new(&installed);
        command.args(["lint-images", "--staged", "--", "a file"]);
        command
            .env_remove("CARGO")
            .env("PATH", folder.path())
            .output()
            .unwrap()
    };
    let missing = lint();
    assert_eq!(missing.status.code(), Some(3));
    let message = String::from_utf8(missing.stderr).unwrap();
    assert!(
        message.contains("cannot find the program lint-images"),
        "{message}"
    );
    // A linter that prints what it was called with.
    std::os::unix::fs::symlink("/bin/echo", folder.path().join("lint-images")).unwrap();
    assert_eq!(text(&lint()), "--staged -- a file\n");
}

#[test]
fn bash_completes_verbs_and_options() {
    let script = text(&xtask(&["completions", "bash"]));
    let complete = |words: &str, current: usize| {
        let script = format!(
            "{script}\nCOMP_WORDS=({words})\nCOMP_CWORD={current}\n_xtask xtask \"${{COMP_WORDS[{current}]}}\" \
             \"${{COMP_WORDS[{}]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            current - 1
        );
        text(
            &Command::new("bash")
                .args(["--norc", "-c", &script])
                .output()
                .unwrap(),
        )
    };
    assert_eq!(complete("xtask merge", 1).trim(), "merge-reports");
    assert_eq!(complete("xtask e2e --prov", 2).trim(), "--provider");
    let providers = complete("xtask e2e --provider ''", 3);
    for provider in ["kind", "local", "cluster"] {
        assert!(providers.lines().any(|line| line == provider), "{providers}");
    }
}
