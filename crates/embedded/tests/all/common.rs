//! Helpers of the tests.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Returns the helper program with piped input and output.
pub(crate) fn helper(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedded-helper"));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Starts a helper; returns its process and the URL and folder of its server.
pub(crate) fn serving(mut command: Command) -> (Child, String, PathBuf) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (url, folder) = line
        .trim()
        .split_once(' ')
        .expect("the helper prints URL and folder");
    (child, url.to_owned(), PathBuf::from(folder))
}

/// Executes SQL with psql; returns the rows or the error of psql.
pub(crate) fn sql(url: &str, statement: &str) -> Result<String, String> {
    let psql = embedded::POSTGRESQL
        .programs()
        .unwrap()
        .tool("psql")
        .expect("psql is in the folder of the server or on PATH");
    let output = Command::new(psql)
        .args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "--no-password",
            url,
            "--command",
            statement,
        ])
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}
