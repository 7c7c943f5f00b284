//! Start and stop of all kinds of servers.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use subprocess::{Child, Command, Failure, Outcome, Record, RecordError, Signal, proc};

use crate::builder::Builder;
use crate::instance::{Instance, NewInstance, remove_folder};
use crate::user::User;

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

/// A kind of server, with the values that its options resolve to.
pub trait Kind: Sized {
    /// Name in messages.
    const NAME: &'static str;
    /// [`Instance::kind`] of its instances.
    const INSTANCE: &'static str;
    /// Signal for a fast stop when the data is removed afterwards; SIGKILL without one.
    const QUICK_END: Option<Signal> = None;
    /// Options in addition to those of all servers.
    type Options: Default;

    /// Checks the options and finds the programs.
    ///
    /// # Errors
    /// If there are no programs, or an option is invalid.
    fn resolve(options: Self::Options) -> anyhow::Result<Self>;

    /// Fills the new folder of an instance. Default: nothing to do.
    ///
    /// # Errors
    /// If a file cannot be written, or a program fails.
    fn prepare(&mut self, _instance: &Instance) -> anyhow::Result<()> {
        Ok(())
    }

    /// Returns the user as which it runs, if it is another.
    fn user(&self) -> Option<User> {
        None
    }

    /// Returns the command without log and record.
    ///
    /// # Errors
    /// If the configuration file of the server is invalid or cannot be written.
    fn command(&self, instance: &Instance, port: u16) -> anyhow::Result<Command>;

    /// Checks that the server on `port` is ready.
    ///
    /// # Errors
    /// Its response, if it is not ready.
    fn probe(&self, port: u16) -> anyhow::Result<()>;
}

/// A private server in its own process group, stopped on drop.
pub struct Server<K: Kind> {
    pub(crate) kind: K,
    instance: Instance,
    log: PathBuf,
    /// Port of 127.0.0.1.
    port: u16,
    child: Mutex<Option<Child>>,
    kept: bool,
}

impl<K: Kind> fmt::Debug for Server<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct(K::NAME)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl<O> Builder<O> {
    /// Starts a server in a new instance and waits until it is ready.
    pub(crate) fn launch<K: Kind<Options = O>>(self) -> anyhow::Result<Server<K>> {
        let Self {
            port,
            record,
            log,
            belongs_to,
            choose_port,
            own,
        } = self;
        let kind = K::resolve(own)?;
        let instance = NewInstance::make(K::INSTANCE, kind.user())?.register(record, belongs_to)?;
        let mut server = Server {
            kind,
            log: log.unwrap_or_else(|| instance.folder().join("server.log")),
            instance,
            port: 0,
            child: Mutex::default(),
            // Until it runs: a record at a given path may be of another server.
            kept: true,
        };
        let started = server.kind.prepare(&server.instance).and_then(|()| {
            on_port(K::NAME, port, choose_port, |port| {
                server.port = port;
                server.start_process()
            })
        });
        started.inspect_err(|_| drop(remove_folder(server.instance.folder())))?;
        server.kept = false;
        Ok(server)
    }
}

impl<K: Kind> Server<K> {
    /// Returns a builder with its options.
    pub fn builder() -> Builder<K::Options> {
        Builder::default()
    }

    /// Starts one with default options.
    ///
    /// # Errors
    /// As `start` of its [`Builder`].
    pub fn start() -> anyhow::Result<Self> {
        Self::builder().launch()
    }

    /// Returns its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Returns its folder and owner.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Whether its process is running, also one that another process started.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.record()
            .ok()
            .flatten()
            .is_some_and(|record| record.is_alive())
    }

    /// Stops it in order, which closes connections, and returns after the exit. The data stays.
    ///
    /// # Errors
    /// If its process does not exit.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.end(|record| record.stop(GRACE))
    }

    /// Kills it with all its processes, as a power failure would, and returns after their exit.
    ///
    /// # Errors
    /// If its process does not exit.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.end(|record| record.kill())
    }

    /// Stops it, if it runs, and starts it on the same port with the same data; returns when it is ready.
    ///
    /// The data is that of a PostgreSQL, the append-only file of a Redis, or the journal of a Kubernetes API.
    ///
    /// # Errors
    /// If its process does not exit, or does not start; with its last lines.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.stop()?;
        self.start_process()
    }

    /// Lets it outlive this process. Give it a run with [`Builder::belongs_to`]; otherwise the next start removes it.
    pub fn keep(mut self) {
        self.kept = true;
        if let Some(child) = self.lock().take() {
            child.detach();
        }
    }

    /// Starts it and waits until it is ready. Does nothing if it is running.
    fn start_process(&self) -> anyhow::Result<()> {
        let mut child = self.lock();
        if self.is_running() {
            return Ok(());
        }
        let command = self.kind.command(&self.instance, self.port)?;
        let command = command.name(K::NAME).log(&self.log).record(&self.instance.record);
        let started = child.insert(command.spawn()?);
        if let Err(failure) = wait_until_ready(started, self.port, || self.kind.probe(self.port)) {
            *child = None;
            return Err(failure);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the record: another process may have started the server again.
    fn record(&self) -> anyhow::Result<Option<Record>> {
        if self.instance.record.exists() {
            Ok(Some(Record::read(&self.instance.record)?))
        } else {
            Ok(None)
        }
    }

    /// Ends the recorded process.
    fn end(&self, end: impl FnOnce(&Record) -> Result<(), RecordError>) -> anyhow::Result<()> {
        let mut child = self.lock();
        if let Some(record) = self.record()? {
            end(&record)?;
        }
        *child = None;
        Ok(())
    }

    fn remove(&self) -> anyhow::Result<()> {
        self.end(|record| {
            let Some(signal) = K::QUICK_END else {
                return record.kill();
            };
            let mut record = record.clone();
            record.stop_signal = Some(signal.as_raw());
            record.stop(GRACE)
        })?;
        let _with_its_folder = fs::remove_file(&self.instance.record);
        remove_folder(self.instance.folder())
    }
}

impl<K: Kind> Drop for Server<K> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = self.remove() {
            subprocess::eprint_line(format!(
                "embedded: cannot stop {} and remove its folder; run `cargo xtask gc`: {error:#}",
                K::NAME
            ));
        }
    }
}

/// Waits until the server is ready, and it is this child that listens on the port: another server of the same kind that
/// was faster would be ready, too.
fn wait_until_ready(
    child: &mut Child,
    port: u16,
    probe: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let until = Instant::now() + READY;
    loop {
        let state = match probe() {
            Ok(()) if is_listening(child.pid(), port) => return Ok(()),
            Ok(()) => format!("another process listens on port {port}"),
            Err(state) => state.to_string(),
        };
        if child.ends_within(PROBE_INTERVAL) || Instant::now() > until {
            let failure = child.failure(Outcome::Deadline(READY));
            return Err(failure).with_context(|| format!("last response to the readiness probe: {state}"));
        }
    }
}

/// Connects to a server for a readiness probe.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(stream)
}

/// Whether the process listens on the port; true as well where the system does not show its sockets. A process that is
/// about to exit has none.
fn is_listening(pid: u32, port: u16) -> bool {
    let listening = proc::listening_sockets(port);
    let is_its_own = match proc::open_files(pid) {
        Ok(open) => listening.iter().any(|socket| open.contains(socket)),
        // Root without CAP_SYS_PTRACE cannot read those of another user's process.
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    is_its_own || listening.is_empty()
}

/// Starts a server on `port`, or on a free one if none is given: `start` is called with it, and again with another if
/// another process binds it first.
fn on_port(
    name: &str,
    port: Option<u16>,
    choose: ChoosePort,
    mut start: impl FnMut(u16) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
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
