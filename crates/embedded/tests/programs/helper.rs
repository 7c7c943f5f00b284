//! Program for the tests: starts a server, prints its URL and folder, and waits until its input ends.
//!
//! `embedded-helper postgresql|redis|kubernetes [RUN]`: with RUN the server belongs to that run and is kept.

use std::env;
use std::io::{self, Read, Write};

fn main() -> anyhow::Result<()> {
    let kind = env::args().nth(1).unwrap_or_default();
    let run = env::args().nth(2);
    match kind.as_str() {
        "postgresql" => {
            let mut builder = embedded::Postgres::builder().durable(false);
            if let Some(run) = &run {
                builder = builder.belongs_to(run);
            }
            let server = builder.start()?;
            print(&server.url(), &server.instance().folder().display().to_string())?;
            if run.is_some() {
                server.keep();
            } else {
                wait()?;
            }
        }
        "redis" => {
            let server = embedded::Redis::start()?;
            print(&server.url(), &server.instance().folder().display().to_string())?;
            wait()?;
        }
        "kubernetes" => {
            let server = embedded::Kubernetes::start()?;
            print(&server.url(), &server.instance().folder().display().to_string())?;
            wait()?;
        }
        _ => anyhow::bail!("usage: embedded-helper postgresql|redis|kubernetes [RUN]"),
    }
    Ok(())
}

fn print(url: &str, folder: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{url} {folder}")?;
    stdout.flush()
}

fn wait() -> io::Result<()> {
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
