//! What all servers have in common: started until ready, ended as a group.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use subprocess::{Child, Command, Ended, Failure, Record, Signal};

use crate::instance::{Instance, remove_folder};

/// A server that is not ready after this long never will be; recovery after a kill included.
const READY: Duration = Duration::from_secs(60);
/// How long a server may take to end in order before it is killed.
const GRACE: Duration = Duration::from_secs(30);
/// Between two looks at whether it is ready.
const LOOK: Duration = Duration::from_millis(5);

type MakeCommand = Box<dyn Fn() -> Command + Send + Sync>;
type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A server of its own process group.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) instance: Instance,
    pub(crate) log: PathBuf,
    /// The command without log and record.
    pub(crate) command: MakeCommand,
    /// Whether it answers; if not, what it says.
    pub(crate) probe: Probe,
    /// Ends it at once and orderly enough for data that is thrown away.
    pub(crate) quick_end: Option<Signal>,
    pub(crate) child: Mutex<Option<Child>>,
    pub(crate) kept: bool,
}

impl Server {
    pub(crate) fn new(
        name: &'static str,
        instance: Instance,
        log: Option<PathBuf>,
        command: MakeCommand,
        probe: Probe,
    ) -> Self {
        let log = log.unwrap_or_else(|| instance.folder().join("server.log"));
        Self {
            name,
            instance,
            log,
            command,
            probe,
            quick_end: None,
            child: Mutex::default(),
            kept: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it for the first time. If it does not start, its folder stays: it may start on another port.
    pub(crate) fn launch(mut self) -> anyhow::Result<Self> {
        self.kept = true;
        self.start()?;
        self.kept = false;
        Ok(self)
    }

    /// Starts it and waits until it answers. Nothing happens if it runs.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        let mut child = self.lock();
        if self.is_running() {
            return Ok(());
        }
        let command = (self.command)()
            .name(self.name)
            .log(&self.log)
            .record(&self.instance.record);
        let started = child.insert(command.spawn()?);
        if let Err(failure) = wait_until_ready(started, &self.probe) {
            *child = None;
            return Err(failure);
        }
        Ok(())
    }

    /// Ends it in order, and returns when it is gone.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let mut child = self.lock();
        if let Some(record) = self.record()? {
            record.stop(GRACE)?;
        }
        *child = None;
        Ok(())
    }

    /// Ends it with SIGKILL, and returns when it is gone.
    pub(crate) fn kill(&self) -> anyhow::Result<()> {
        let mut child = self.lock();
        if let Some(record) = self.record()? {
            record.kill()?;
        }
        *child = None;
        Ok(())
    }

    pub(crate) fn restart(&self) -> anyhow::Result<()> {
        self.stop()?;
        self.start()
    }

    /// Whether its process runs, whoever started it last.
    pub(crate) fn is_running(&self) -> bool {
        self.record()
            .ok()
            .flatten()
            .is_some_and(|record| record.is_alive())
    }

    /// The record as it is now: another process may have started it again.
    fn record(&self) -> anyhow::Result<Option<Record>> {
        if self.instance.record.exists() {
            Ok(Some(Record::read(&self.instance.record)?))
        } else {
            Ok(None)
        }
    }

    /// Leaves it running when the guard is gone.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
        if let Some(child) = self.lock().take() {
            child.detach();
        }
    }

    fn end(&self) -> anyhow::Result<()> {
        if let Some(record) = self.record()? {
            match self.quick_end {
                Some(signal) => Record {
                    stop_signal: Some(signal.as_raw()),
                    ..record
                }
                .stop(GRACE)?,
                None => record.kill()?,
            }
            let _with_its_folder = fs::remove_file(&self.instance.record);
        }
        *self.lock() = None;
        remove_folder(self.instance.folder())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = self.end() {
            subprocess::eprint_line(format!(
                "embedded: {} was not ended cleanly, `cargo xtask gc` will do it: {error:#}",
                self.name
            ));
        }
    }
}

fn wait_until_ready(child: &mut Child, probe: &Probe) -> anyhow::Result<()> {
    let until = Instant::now() + READY;
    loop {
        let Err(state) = probe() else { return Ok(()) };
        if child.ends_within(LOOK) || Instant::now() > until {
            let failure = child.failure(Ended::Deadline(READY));
            return Err(failure).with_context(|| format!("when last asked it said: {state}"));
        }
    }
}

/// Starts a server on `port`, or on a free one if none is asked for: `make` is called with it, again with another if
/// somebody took it in between.
pub(crate) fn on_port<S>(
    name: &str,
    port: Option<u16>,
    mut make: impl FnMut(u16) -> anyhow::Result<S>,
) -> anyhow::Result<S> {
    if let Some(port) = port {
        return make(port).map_err(|error| {
            if is_port_taken(&error) {
                return error.context(format!(
                    "port {port} of 127.0.0.1, asked for by {name}, is taken; stop what listens there \
                     (`ss -ltnp sport = :{port}`) or ask for none"
                ));
            }
            error
        });
    }
    for _ in 0..10 {
        match make(free_port()?) {
            Err(error) if is_port_taken(&error) => {}
            result => return result,
        }
    }
    bail!("ten free ports in a row were taken before {name} could listen there")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port of 127.0.0.1")?;
    Ok(listener.local_addr()?.port())
}

/// All servers say it in the C library's words.
fn is_port_taken(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<Failure>())
        .any(|failure| {
            failure
                .last_lines()
                .iter()
                .any(|line| line.contains("Address already in use"))
        })
}

/// A password: 32 hexadecimal digits from the system's source of randomness.
///
/// # Errors
/// If there is no /dev/urandom.
pub fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("read /dev/urandom")?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    }))
}
