//! What the tests share.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The helper program, its input held open, its output piped.
pub(crate) fn helper(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedded-helper"));
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A helper that serves: the process, its server's URL and folder.
pub(crate) fn serving(mut command: Command) -> (Child, String, PathBuf) {
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (url, folder) = line.trim().split_once(' ').expect("the helper serves");
    (child, url.to_owned(), PathBuf::from(folder))
}

/// Runs SQL with psql: the rows, or what psql says.
pub(crate) fn sql(url: &str, statement: &str) -> Result<String, String> {
    let psql = embedded::postgresql_programs()
        .unwrap()
        .tool("psql")
        .expect("psql is beside the server or on PATH");
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
