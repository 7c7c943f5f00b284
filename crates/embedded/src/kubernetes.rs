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
/// Maximum time of a build with all dependencies on a slow machine.
const BUILD: Duration = Duration::from_secs(1800);

/// Options of a Kubernetes API.
#[derive(Debug, Clone, Default)]
pub struct KubernetesOptions {
    kubeconfig: Option<PathBuf>,
    journal: bool,
    arguments: Vec<String>,
}

impl Builder<KubernetesOptions> {
    /// Sets the path of the kubeconfig. Default: in the instance's folder.
    pub fn kubeconfig(mut self, path: impl Into<PathBuf>) -> Self {
        self.own.kubeconfig = Some(path.into());
        self
    }

    /// Sets whether objects and versions survive a restart, as in a real API server. Default: false.
    pub fn journal(mut self, journal: bool) -> Self {
        self.own.journal = journal;
        self
    }

    /// Adds an argument of `kube-embedded serve`.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.own.arguments.push(argument.into());
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// If there is no `kube-embedded` and it cannot be built, the given port is in use, or it does not start; with its
    /// last lines.
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
                Box::new(move || probe(port)),
            );
            server.launch()
        };
        let server = on_port(PROGRAM, port, choose_port, start)
            .inspect_err(|_| drop(remove_folder(instance.folder())))?;
        Ok(Kubernetes { server, kubeconfig })
    }
}

/// A private Kubernetes API, stopped on drop.
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
    /// Returns a builder with its options.
    pub fn builder() -> Builder<KubernetesOptions> {
        Builder::default()
    }

    /// Starts one with default options.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start() -> anyhow::Result<Self> {
        Self::builder().start()
    }

    /// Returns `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Returns the path of the kubeconfig for kubectl and other clients.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the path of its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.server.log.clone()
    }

    /// Returns its folder and owner.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.server.instance
    }

    /// Whether its process is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Stops it in order and returns after the exit.
    ///
    /// # Errors
    /// If its process does not exit.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.server.stop()
    }

    /// Stops it, if it runs, and starts it on the same port with the objects of its journal; returns when it is ready.
    ///
    /// # Errors
    /// If its process does not exit, or does not start; with its last lines.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.server.restart()
    }

    /// Kills it and returns after the exit.
    ///
    /// # Errors
    /// If its process does not exit.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.server.kill()
    }

    /// Lets it outlive this process. Give it a run with [`Builder::belongs_to`]; otherwise the next start removes it.
    pub fn keep(mut self) {
        self.server.keep();
    }
}

/// Returns the program: `$KUBE_EMBEDDED_BIN`, otherwise the one in the folder of this program if it is current, otherwise
/// a new build.
fn program() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os("KUBE_EMBEDDED_BIN").map(PathBuf::from) {
        if !path.is_file() {
            bail!("invalid KUBE_EMBEDDED_BIN: {} is not a file", path.display());
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
            "found no {PROGRAM} in the folder of {}; set KUBE_EMBEDDED_BIN to its path",
            env::current_exe()?.display()
        ),
    }
}

/// Whether the program is newer than its own sources. Changes of its libraries are left to cargo, which builds it with the
/// workspace.
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

/// Builds it with the profile of this program, so that compiled dependencies are reused.
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
    // Cargo prints the path, whatever the target folder and profile are.
    output
        .text()
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .find(|path| path.file_name().is_some_and(|name| name == PROGRAM))
        .with_context(|| format!("cargo built no {PROGRAM}"))
}

/// Requests `/readyz`; the error is a status other than 200.
fn probe(port: u16) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(text)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(text)?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .map_err(text)?;
    let mut response = Vec::new();
    stream.take(4096).read_to_end(&mut response).map_err(text)?;
    let response = String::from_utf8_lossy(&response);
    match response.lines().next() {
        Some(status) if status.contains(" 200 ") => Ok(()),
        status => Err(status.unwrap_or("empty response").to_owned()),
    }
}
