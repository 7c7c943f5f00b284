//! A private Kubernetes API: the program `kube-embedded`.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use subprocess::{Cancel, Command};

use crate::builder::Builder;
use crate::instance::{Instance, NewInstance, remove_folder};
use crate::server::{Server, on_port};

const PROGRAM: &str = "kube-embedded";
/// Compiling it with all that it depends on, on a slow machine.
const BUILD: Duration = Duration::from_secs(1800);

/// What can be asked of a Kubernetes API before it starts.
#[derive(Debug, Clone, Default)]
pub struct KubernetesOptions {
    kubeconfig: Option<PathBuf>,
    journal: bool,
    arguments: Vec<String>,
}

impl Builder<KubernetesOptions> {
    /// Writes the kubeconfig here; into the instance's folder if not given.
    pub fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.own.kubeconfig = Some(path.into());
        self
    }

    /// Keeps objects and versions across a restart, as a real API server does: no unless asked for.
    pub fn journal(mut self, journal: bool) -> Self {
        self.own.journal = journal;
        self
    }

    /// Passes one more argument to `kube-embedded serve`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.own.arguments.push(argument.into());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If there is no `kube-embedded` and it can't be built, the port asked for is taken, or it does not start; with
    /// its last lines.
    pub fn start(self) -> anyhow::Result<Kubernetes> {
        let Self {
            port,
            record,
            log,
            belongs_to,
            choose_port,
            own,
        } = self;
        let program = program()?;
        let instance = NewInstance::make("kubernetes", None)?.register(record, belongs_to)?;
        let kubeconfig = own
            .kubeconfig
            .unwrap_or_else(|| instance.folder().join("kubeconfig"));
        let journal = own.journal.then(|| instance.folder().join("journal"));
        let start = |port| {
            let (program, kubeconfig) = (program.clone(), kubeconfig.clone());
            let (journal, arguments) = (journal.clone(), own.arguments.clone());
            let server = Server::new(
                PROGRAM,
                instance.clone(),
                log.clone(),
                port,
                Box::new(move || {
                    let mut command = process::Command::new(&program);
                    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--kubeconfig"]);
                    command.arg(&kubeconfig).current_dir("/");
                    if let Some(journal) = &journal {
                        command.arg("--journal").arg(journal);
                    }
                    command.args(&arguments);
                    Command::new(command)
                }),
                Box::new(move || is_ready(port)),
            );
            server.launch()
        };
        let server = on_port(PROGRAM, port, choose_port, start)
            .inspect_err(|_| drop(remove_folder(instance.folder())))?;
        Ok(Kubernetes { server, kubeconfig })
    }
}

/// A private Kubernetes API, ended when this is dropped.
pub struct Kubernetes {
    server: Server,
    kubeconfig: PathBuf,
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Kubernetes")
            .field("port", &self.server.port)
            .finish_non_exhaustive()
    }
}

impl Kubernetes {
    /// What can be asked of it before it starts.
    pub fn builder() -> Builder<KubernetesOptions> {
        Builder::default()
    }

    /// Starts one with nothing asked of it.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> anyhow::Result<Self> {
        Self::builder().start()
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Its port of 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The file that tells kubectl and every client where it is.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What it prints.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log.clone()
    }

    /// Its folder and owner.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.server.instance
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Ends it in order and returns when it is gone.
    ///
    /// # Errors
    /// If its process does not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.server.stop()
    }

    /// Starts it again on the same port, with what its journal has, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start; with its last lines.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.server.start()
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// As [`Kubernetes::stop`] and [`Kubernetes::start_again`].
    pub fn restart(&self) -> anyhow::Result<()> {
        self.server.restart()
    }

    /// Kills it and returns when it is gone.
    ///
    /// # Errors
    /// If its process does not end.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.server.kill()
    }

    /// Lets it run on when this process ends; give it a run with [`Builder::belongs_to`], or the next sweep ends it.
    pub fn keep(mut self) {
        self.server.keep();
    }
}

/// The program: `$KUBE_EMBEDDED_BIN`, else the one that cargo built beside us if it is current, else built now.
fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("KUBE_EMBEDDED_BIN").map(PathBuf::from) {
        if !path.is_file() {
            bail!("KUBE_EMBEDDED_BIN is {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap_or(Path::new("/"));
    let sources = workspace.join("crates").join(PROGRAM);
    // A test program is in target/debug/deps, a binary in target/debug.
    let built = env::current_exe()?
        .ancestors()
        .skip(1)
        .take(2)
        .map(|up| up.join(PROGRAM))
        .find(|path| path.is_file());
    match built {
        Some(path) if !sources.is_dir() || is_current(&path, &sources) => Ok(path),
        _ if sources.is_dir() => build(workspace),
        _ => bail!(
            "there is no {PROGRAM} beside {}; set KUBE_EMBEDDED_BIN to its path",
            env::current_exe()?.display()
        ),
    }
}

/// Whether the program is newer than its own sources. That a library of it changed is left to cargo, which builds it
/// whenever the workspace is built.
fn is_current(program: &Path, sources: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    modified(program) >= newest(&sources.join("src")).max(modified(&sources.join("Cargo.toml")))
}

fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    entries
        .filter_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => newest(&entry.path()),
            _ => entry.metadata().ok()?.modified().ok(),
        })
        .max()
}

/// Builds it with the profile that we were built with, so that what this workspace has compiled is used.
fn build(workspace: &Path) -> anyhow::Result<PathBuf> {
    subprocess::eprint_line(format!("embedded: building {PROGRAM}"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = process::Command::new(cargo);
    command
        .args([
            "build",
            "--package",
            PROGRAM,
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(workspace);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = Command::new(command)
        .name(format!("build {PROGRAM}"))
        .deadline(BUILD)
        .observe(|line| subprocess::eprint_line(line))
        .capture(&Cancel::never())?;
    // Cargo says where it put it, whatever the target folder and profile.
    output
        .text()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .find(|path| path.file_name().is_some_and(|name| name == PROGRAM))
        .with_context(|| format!("cargo built no {PROGRAM}"))
}

/// Whether `/readyz` answers 200; else what it says.
fn is_ready(port: u16) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(told)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(told)?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .map_err(told)?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).map_err(told)?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.lines().next() {
        Some(status) if status.contains(" 200 ") => Ok(()),
        status => Err(status.unwrap_or("nothing").to_owned()),
    }
}
