//! Start and stop of all kinds of servers.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use subprocess::{Child, Command, Failure, Outcome, Record, Signal, proc};

use crate::instance::{Instance, remove_folder};

/// Maximum time until a server is ready, including recovery after a kill.
const READY: Duration = Duration::from_secs(60);
/// Maximum time of an orderly stop before the server is killed.
const GRACE: Duration = Duration::from_secs(30);
/// Time between two readiness probes.
const PROBE_INTERVAL: Duration = Duration::from_millis(5);

/// Maximum number of ports on which a server is started when other processes bind them first.
const MAX_ATTEMPTS: usize = 10;

/// Returns a free port of 127.0.0.1.
pub(crate) type ChoosePort = fn() -> io::Result<u16>;
type MakeCommand = Box<dyn Fn() -> Command + Send + Sync>;
type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// A server in its own process group.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) instance: Instance,
    pub(crate) log: PathBuf,
    /// Port of 127.0.0.1.
    pub(crate) port: u16,
    /// The command without log and record.
    pub(crate) command: MakeCommand,
    /// Readiness probe; its error is the response of the server.
    pub(crate) probe: Probe,
    /// Signal for a fast stop when the data is removed afterwards; SIGKILL without one.
    pub(crate) quick_end: Option<Signal>,
    pub(crate) child: Mutex<Option<Child>>,
    pub(crate) kept: bool,
}

impl Server {
    pub(crate) fn new(
        name: &'static str,
        instance: Instance,
        log: Option<PathBuf>,
        port: u16,
        command: MakeCommand,
        probe: Probe,
    ) -> Self {
        let log = log.unwrap_or_else(|| instance.folder().join("server.log"));
        Self {
            name,
            instance,
            log,
            port,
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

    /// Starts it for the first time. If that fails, the folder stays for a start on another port.
    pub(crate) fn launch(mut self) -> anyhow::Result<Self> {
        self.kept = true;
        self.start()?;
        self.kept = false;
        Ok(self)
    }

    /// Starts it and waits until it is ready. Does nothing if it is running.
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
        if let Err(failure) = wait_until_ready(started, self.port, &self.probe) {
            *child = None;
            return Err(failure);
        }
        Ok(())
    }

    /// Stops it in order and returns after the exit.
    pub(crate) fn stop(&self) -> anyhow::Result<()> {
        let mut child = self.lock();
        if let Some(record) = self.record()? {
            record.stop(GRACE)?;
        }
        *child = None;
        Ok(())
    }

    /// Kills it and returns after the exit.
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

    /// Whether its process is running, also one that another process started.
    pub(crate) fn is_running(&self) -> bool {
        self.record()
            .ok()
            .flatten()
            .is_some_and(|record| record.is_alive())
    }

    /// Reads the record: another process may have started the server again.
    fn record(&self) -> anyhow::Result<Option<Record>> {
        if self.instance.record.exists() {
            Ok(Some(Record::read(&self.instance.record)?))
        } else {
            Ok(None)
        }
    }

    /// Lets it outlive the guard.
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
                "embedded: cannot stop {} and remove its folder; run `cargo xtask gc`: {error:#}",
                self.name
            ));
        }
    }
}

/// Waits until the server is ready, and it is this child that listens on the port: another server of the same kind that
/// was faster would be ready, too.
fn wait_until_ready(child: &mut Child, port: u16, probe: &Probe) -> anyhow::Result<()> {
    let until = Instant::now() + READY;
    loop {
        let state = match probe() {
            Ok(()) if is_listening(child.pid(), port) => return Ok(()),
            Ok(()) => format!("another process listens on port {port}"),
            Err(state) => state,
        };
        if child.ends_within(PROBE_INTERVAL) || Instant::now() > until {
            let failure = child.failure(Outcome::Deadline(READY));
            return Err(failure).with_context(|| format!("last response to the readiness probe: {state}"));
        }
    }
}

/// Whether the process listens on the port; true as well where the system does not show its sockets.
fn is_listening(pid: u32, port: u16) -> bool {
    let open = proc::open_files(pid);
    open.is_empty()
        || proc::listening_sockets(port)
            .iter()
            .any(|socket| open.contains(socket))
}

/// Starts a server on `port`, or on a free one if none is given: `start` is called with it, and again with another if
/// another process binds it first.
pub(crate) fn on_port<S>(
    name: &str,
    port: Option<u16>,
    choose: ChoosePort,
    mut start: impl FnMut(u16) -> anyhow::Result<S>,
) -> anyhow::Result<S> {
    if let Some(port) = port {
        return start(port).map_err(|error| {
            if is_port_taken(&error) {
                return error.context(format!(
                    "port {port} of 127.0.0.1, requested for {name}, is in use; stop the program that listens there \
                     (`ss -ltnp sport = :{port}`) or request none"
                ));
            }
            error
        });
    }
    for _ in 0..MAX_ATTEMPTS {
        let port = choose().context("choose a port")?;
        match start(port) {
            Err(error) if is_port_taken(&error) => subprocess::eprint_line(format!(
                "embedded: another process bound port {port} before {name} did; starting {name} on another port"
            )),
            result => return result,
        }
    }
    bail!("cannot start {name}: other processes bound each of {MAX_ATTEMPTS} free ports first")
}

/// Whether the server exited because its port is in use: all servers print the message of the C library.
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

/// Returns a random password of 32 hexadecimal digits.
///
/// # Errors
/// If /dev/urandom cannot be read.
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::net::TcpListener;

    use super::*;
    use crate::{Kubernetes, Postgres, Redis};

    thread_local! {
        /// Ports that the test's server gets before free ones.
        static FIRST: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
    }

    fn first_then_free() -> io::Result<u16> {
        FIRST.with_borrow_mut(|first| first.pop().map_or_else(subprocess::free_port, Ok))
    }

    /// Chooses a port for the server on which another program listens.
    fn choose_taken<S>(builder: &mut crate::Builder<S>) -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        FIRST.set(vec![listener.local_addr().unwrap().port()]);
        builder.choose_port = first_then_free;
        listener
    }

    #[test]
    fn redis_starts_on_another_port_when_its_first_one_is_taken() {
        let mut builder = Redis::builder();
        let taken = choose_taken(&mut builder);
        let redis = builder.start().unwrap();
        assert!(FIRST.take().is_empty(), "the taken port was not chosen");
        assert_ne!(redis.port(), taken.local_addr().unwrap().port());
        assert!(redis.is_running());
    }

    #[test]
    fn postgresql_starts_on_another_port_when_its_first_one_is_taken() {
        let mut builder = Postgres::builder().durable(false);
        let taken = choose_taken(&mut builder);
        let postgres = builder.start().unwrap();
        assert!(FIRST.take().is_empty(), "the taken port was not chosen");
        assert_ne!(postgres.port(), taken.local_addr().unwrap().port());
        assert!(postgres.is_running());
    }

    /// Its readiness probe has no secret: a ready server on the same port does not count as the one that lost.
    #[test]
    fn kubernetes_starts_on_another_port_when_another_instance_listens_on_its_first_one() {
        let other = Kubernetes::start().unwrap();
        let mut builder = Kubernetes::builder();
        FIRST.set(vec![other.port()]);
        builder.choose_port = first_then_free;
        let kubernetes = builder.start().unwrap();
        assert!(FIRST.take().is_empty(), "the taken port was not chosen");
        assert_ne!(kubernetes.port(), other.port());
        assert!(kubernetes.is_running() && other.is_running());
    }

    #[test]
    fn attempts_to_find_a_port_are_bounded() {
        let lost = |_| -> anyhow::Result<()> {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "echo 'bind: Address already in use' >&2; exit 1"]);
            Command::new(command).run(&subprocess::Cancel::never())?;
            Ok(())
        };
        let error = on_port("Redis", None, || Ok(1), lost).unwrap_err();
        assert!(error.to_string().contains("each of 10 free ports"), "{error}");
    }
}
