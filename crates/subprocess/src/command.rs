//! A command about to be run.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::busy::retry_while_busy;
use crate::cancel::Cancel;
use crate::cargo;
use crate::child::{Child, Ending};
use crate::failure::{Ended, Failure};
use crate::output::{Gatherer, Log, Observer, Output};
use crate::record::{Record, RecordError};
use crate::show;
use crate::tags;

/// How long a child has between SIGTERM and SIGKILL, unless told otherwise.
const GRACE: Duration = Duration::from_secs(5);

/// Where stdout goes.
pub(crate) enum Stdout {
    /// Beside stderr, to the log and the observer.
    Lines,
    /// To [`Output::stdout`].
    Captured,
    /// Into the next command of a pipeline.
    Next(Stdio),
}

/// A command about to be run: what it is, where its output goes, how long it may take.
///
/// The [`process::Command`] gives program, arguments, folder and environment; its standard streams and process
/// group are set here. Standard input is empty unless given.
pub struct Command {
    inner: process::Command,
    name: Option<String>,
    log: Option<PathBuf>,
    record: Option<PathBuf>,
    observer: Option<Observer>,
    input: Option<Vec<u8>>,
    pub(crate) stdin: Option<Stdio>,
    user: Option<(u32, u32)>,
    ending: Ending,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("Command")
            .field(&self.command_line())
            .finish()
    }
}

impl From<process::Command> for Command {
    fn from(inner: process::Command) -> Self {
        Self::new(inner)
    }
}

impl Command {
    /// A command without name, log or deadline.
    #[must_use]
    pub fn new(inner: process::Command) -> Self {
        let ending = Ending {
            deadline: None,
            grace: GRACE,
            stop_signal: None,
        };
        Self {
            inner,
            name: None,
            log: None,
            record: None,
            observer: None,
            input: None,
            stdin: None,
            user: None,
            ending,
        }
    }

    /// What it does, for messages ("load image gateway"); the program's name if not given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Appends what it prints to this file as it comes, after a line with the command. The folder is made.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Ends it when it takes longer.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.ending.deadline = Some(limit);
        self
    }

    /// How long it has between being asked to end and being killed: 5 s unless given.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.ending.grace = grace;
        self
    }

    /// Asks it to end with this signal, sent to the leader alone (a server that ends its own workers in order);
    /// without this SIGTERM goes to the whole group. Killing always means the whole group.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.ending.stop_signal = Some(signal);
        self
    }

    /// Calls `observer` with each line for people as it comes, on a thread of the output's.
    #[must_use]
    pub fn observe(mut self, observer: impl FnMut(&str) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Gives it these bytes as its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs it as this user and group (only root may).
    #[must_use]
    pub fn user(mut self, user: u32, group: u32) -> Self {
        self.user = Some((user, group));
        self
    }

    /// Writes a [`Record`] to this file when it has started, from which another process finds, stops and starts
    /// it again. The child and its children carry the path in their environment as `SUBPROCESS_RECORD`.
    #[must_use]
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// The exact command, quoted for a shell; values of secrets by their name are left out.
    #[must_use]
    pub fn command_line(&self) -> String {
        show::shell(&self.inner, self.user)
    }

    /// Runs it to its end. Success is exit code 0.
    ///
    /// # Errors
    /// [`Failure`] for any other end: also when `cancel` is thrown or the deadline is over.
    pub fn run(self, cancel: &Cancel) -> Result<Output, Failure> {
        self.checked(cancel)?.start(Stdout::Lines)?.wait(cancel)
    }

    /// Runs it to its end and gives its stdout; stderr goes to the log, the observer and the last lines.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn capture(self, cancel: &Cancel) -> Result<Output, Failure> {
        self.checked(cancel)?.start(Stdout::Captured)?.wait(cancel)
    }

    /// Starts it and returns. With a log and no observer it writes to the log by itself, so that it goes on when
    /// this process is gone.
    ///
    /// # Errors
    /// [`Failure`] if it could not be started or recorded.
    pub fn spawn(self) -> Result<Child, Failure> {
        self.start(Stdout::Lines)
    }

    /// Nothing is started once cancelled.
    pub(crate) fn checked(self, cancel: &Cancel) -> Result<Self, Failure> {
        if cancel.is_cancelled() {
            return Err(Failure::new(
                self.own_name(),
                self.command_line(),
                Ended::Cancelled,
            ));
        }
        Ok(self)
    }

    pub(crate) fn own_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let program = Path::new(self.inner.get_program());
            program
                .file_name()
                .unwrap_or(program.as_os_str())
                .to_string_lossy()
                .into_owned()
        })
    }

    pub(crate) fn start(mut self, stdout: Stdout) -> Result<Child, Failure> {
        let name = self.own_name();
        let shown = self.command_line();
        let failed = |reason: String| Failure::new(name.clone(), shown.clone(), Ended::NotStarted(reason));

        let log = self
            .log
            .as_deref()
            .map(|path| {
                Log::open(path, &shown)
                    .map_err(|error| failed(format!("its log {}: {error}", path.display())))
            })
            .transpose()?;
        let direct = log.is_some() && self.observer.is_none();
        let mut gatherer = Gatherer::new(log, direct);
        let input = self
            .connect(stdout, &mut gatherer, direct)
            .map_err(|error| failed(format!("its standard streams: {error}")))?;

        if let Some(path) = &self.record {
            self.inner.env(tags::RECORD, path);
        }
        if let Some(own) = tags::owner_tag() {
            self.inner.env(tags::OWNER, own);
        }
        let program = Path::new(self.inner.get_program()).file_name();
        let program = program.map(|name| name.to_string_lossy().into_owned());
        cargo::as_from_a_shell(&mut self.inner, &program.unwrap_or_default());
        if let Some((user, group)) = self.user {
            self.inner.uid(user).gid(group);
        }
        self.inner.process_group(0);
        let process =
            retry_while_busy(|| self.inner.spawn()).map_err(|error| failed(self.why_not(&error)))?;
        if let Some((writer, bytes)) = input {
            feed(writer, bytes);
        }
        let record = self.record.as_deref().map(|path| {
            let record = Record::of(
                process.id(),
                &name,
                &self.inner,
                gatherer.log_path(),
                self.user,
                self.ending.stop_signal,
            );
            (path, record)
        });
        // Its own ends of the pipes go with the command; a reader would wait for them for ever.
        drop(self.inner);
        let child = Child::adopt(process, name.clone(), shown.clone(), gatherer, &self.ending)
            .map_err(|error| failed(format!("no thread to wait for it: {error}")))?;
        match record.map(|(path, record)| (path, record.and_then(|record| record.write(path)))) {
            // What has ended already tells why when it is waited for.
            None | Some((_, Ok(()) | Err(RecordError::Gone(_)))) => {}
            Some((path, Err(error))) => return Err(child.give_up(error.to_string(), path)),
        }
        Ok(child)
    }

    /// Gives it its standard streams; returns the way to feed its input, if there is any.
    fn connect(
        &mut self,
        stdout: Stdout,
        gatherer: &mut Gatherer,
        direct: bool,
    ) -> io::Result<Option<(io::PipeWriter, Vec<u8>)>> {
        let mut input = None;
        match (self.stdin.take(), self.input.take()) {
            (Some(stdin), _) => self.inner.stdin(stdin),
            (None, Some(bytes)) => {
                let (reader, writer) = io::pipe()?;
                input = Some((writer, bytes));
                self.inner.stdin(reader)
            }
            (None, None) => self.inner.stdin(Stdio::null()),
        };
        if let Some(log) = gatherer.log_file().filter(|_| direct) {
            if matches!(stdout, Stdout::Lines) {
                self.inner.stdout(log.try_clone()?);
            }
            self.inner.stderr(log.try_clone()?);
        } else {
            // One pipe for both keeps their order.
            let (reader, writer) = io::pipe()?;
            if matches!(stdout, Stdout::Lines) {
                self.inner.stdout(writer.try_clone()?);
            }
            self.inner.stderr(writer);
            gatherer.read_lines(reader, self.observer.take())?;
        }
        match stdout {
            Stdout::Lines => {}
            Stdout::Captured => {
                let (reader, writer) = io::pipe()?;
                self.inner.stdout(writer);
                gatherer.read_data(reader)?;
            }
            Stdout::Next(next) => {
                self.inner.stdout(next);
            }
        }
        Ok(input)
    }

    fn why_not(&self, error: &io::Error) -> String {
        let program = self.inner.get_program().to_string_lossy();
        match error.kind() {
            io::ErrorKind::NotFound => match self.inner.get_current_dir() {
                Some(folder) if !folder.is_dir() => format!("its folder {} does not exist", folder.display()),
                _ if program.contains('/') => format!("{program} does not exist"),
                _ => format!("{program} is not on PATH; install it or add its folder to PATH"),
            },
            io::ErrorKind::PermissionDenied => format!("{program} may not be run: {error}"),
            _ => error.to_string(),
        }
    }
}

/// Writes the input from a thread: the child may not read it before it has written, and may end without reading.
fn feed(mut writer: io::PipeWriter, bytes: Vec<u8>) {
    let fed = thread::Builder::new().name("input".to_owned()).spawn(move || {
        // A child that does not want all of its input says so by its exit code, if it matters.
        let _unread = writer.write_all(&bytes);
    });
    // Without the thread the pipe is closed, and the child sees an empty input and says so.
    drop(fed);
}
