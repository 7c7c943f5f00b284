//! A private Kubernetes API: the program `kube-embedded`.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use subprocess::{Cancel, Command};

use crate::builder::Builder;
use crate::instance::Instance;
use crate::server::{Kind, Server, connect};

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
        self.launch()
    }
}

/// A private Kubernetes API, stopped on drop.
pub type Kubernetes = Server<KubernetesKind>;

/// A Kubernetes API as a [`Kind`] of server.
pub struct KubernetesKind {
    program: PathBuf,
    options: KubernetesOptions,
    kubeconfig: PathBuf,
}

impl Kind for KubernetesKind {
    const NAME: &'static str = PROGRAM;
    const INSTANCE: &'static str = "kubernetes";
    type Options = KubernetesOptions;

    fn resolve(options: KubernetesOptions) -> anyhow::Result<Self> {
        Ok(Self {
            program: program()?,
            kubeconfig: options.kubeconfig.clone().unwrap_or_default(),
            options,
        })
    }

    fn prepare(&mut self, instance: &Instance) -> anyhow::Result<()> {
        if self.options.kubeconfig.is_none() {
            self.kubeconfig = instance.folder().join("kubeconfig");
        }
        Ok(())
    }

    fn command(&self, instance: &Instance, port: u16) -> anyhow::Result<Command> {
        let mut command = process::Command::new(&self.program);
        command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--kubeconfig"]);
        command.arg(&self.kubeconfig).current_dir("/");
        if self.options.journal {
            command.arg("--journal").arg(instance.folder().join("journal"));
        }
        command.args(&self.options.arguments);
        Ok(Command::new(command))
    }

    /// Requests `/readyz`; the error is a status other than 200.
    fn probe(&self, port: u16) -> anyhow::Result<()> {
        let mut stream = connect(port)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut response = Vec::new();
        stream.take(4096).read_to_end(&mut response)?;
        let response = String::from_utf8_lossy(&response);
        match response.lines().next() {
            Some(status) if status.contains(" 200 ") => Ok(()),
            status => bail!("{}", status.unwrap_or("empty response")),
        }
    }
}

impl Kubernetes {
    /// Returns `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Returns the path of the kubeconfig for kubectl and other clients.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kind.kubeconfig
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
