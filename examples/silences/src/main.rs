//! Stores silences of namespaces.
//!
//! `silences serve --config FILE` and `silences migrate --config FILE` are the commands that the end-to-end runner uses.

mod config;
mod http;
mod store;

use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::{config::Config, store::Store};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("silences: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (verb, file) = match words.as_slice() {
        [verb, "--config", file] => (*verb, *file),
        _ => bail!("usage: silences serve|migrate --config FILE"),
    };
    let config = Config::read(file.as_ref())?;
    let store = Store::new(&config.postgresql).context("invalid [postgresql]")?;
    match verb {
        "serve" => http::serve(&config.http, store).await,
        "migrate" => store.migrate().await,
        other => bail!("unknown verb {other}; known verbs: serve, migrate"),
    }
}
