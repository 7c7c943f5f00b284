//! An embedded Kubernetes API server for tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use kube_embedded::api::{self, Api};
use kube_embedded::http::{Listener, Options};
use tokio::signal::unix::{SignalKind, signal};

/// Run a Kubernetes API server for tests: in memory, in milliseconds, without a cluster
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the API over plain HTTP until SIGTERM; on loopback only, since a request without a token may do everything
    Serve {
        /// Address to listen on; port 0 selects a free one
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Write a kubeconfig to this file once the port is open
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
        /// Store the objects in this file, and load those in it
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
        /// Accept the tokens of this file: lines of token,user,uid[,"group,group"]
        #[arg(long, value_name = "FILE")]
        token_auth_file: Option<PathBuf>,
        /// Number of changes per resource that are kept for watches and old lists
        #[arg(long, default_value_t = 20_000)]
        history: usize,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(arguments.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(3)
        }
    }
}

#[tokio::main]
async fn run(verb: Verb) -> Result<()> {
    let Verb::Serve {
        listen,
        kubeconfig,
        journal,
        token_auth_file,
        history,
    } = verb;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let api = Api::new(&api::Options { journal, history })?;
    if let Some(path) = token_auth_file {
        let file =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        api.auth
            .accept(&file)
            .map_err(|what| anyhow::anyhow!("{}: {what}", path.display()))?;
    }
    let listener = Listener::bind(&Options { listen, kubeconfig }, Arc::new(api)).await?;
    tracing::info!(address = %listener.address(), "ready");
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    listener.run(stop).await
}
