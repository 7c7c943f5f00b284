//! Commands: options, standard streams, start.

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
use crate::failure::{Failure, Outcome};
use crate::output::{Gatherer, Log, Observer, Output};
use crate::record::{Record, RecordError};
use crate::show;
use crate::tags;

/// Default time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// Destination of stdout.
pub(crate) enum Stdout {
    /// Together with stderr, to the log and the observer.
    Lines,
    /// To [`Output::stdout`].
    Captured,
    /// Into the next command of a pipeline.
    Next(Stdio),
}

/// A command with a name, a log, a deadline and other options.
///
/// The [`process::Command`] has program, arguments, folder and environment; its standard streams and process group are
/// set here. Standard input is empty unless [`Command::input`] is called.
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

    /// Sets the name for messages ("load image gateway"). Default: the program's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Appends the output to this file, after a line with the command. Missing folders are created.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Ends the child when it runs longer.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.ending.deadline = Some(limit);
        self
    }

    /// Sets the time between the stop signal and SIGKILL. Default: 5 s.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.ending.grace = grace;
        self
    }

    /// Sets the stop signal, sent to the leader alone (for a server that stops its own workers). Default: SIGTERM to
    /// the whole group. SIGKILL always goes to the whole group.
    #[must_use]
    pub fn stop_signal(mut self, signal: Signal) -> Self {
        self.ending.stop_signal = Some(signal);
        self
    }

    /// Calls `observer` with each line of output, on the thread that reads it. Captured stdout is not observed.
    #[must_use]
    pub fn observe(mut self, observer: impl FnMut(&str) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Sets the standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs the child as this user and group, which needs root.
    #[must_use]
    pub fn user(mut self, user: u32, group: u32) -> Self {
        self.user = Some((user, group));
        self
    }

    /// Writes a [`Record`] to this file after the start, by which another process finds the child, stops it and starts
    /// it again. The child and its descendants have the path in their environment as `SUBPROCESS_RECORD`.
    #[must_use]
    pub fn record(mut self, path: impl Into<PathBuf>) -> Self {
        self.record = Some(path.into());
        self
    }

    /// Returns the exact command, quoted for a shell. Values of variables named like secrets are left out.
    #[must_use]
    pub fn command_line(&self) -> String {
        show::shell(&self.inner, self.user)
    }

    /// Runs the command until it exits. Success is exit code 0.
    ///
    /// # Errors
    /// [`Failure`] for any other exit, for a cancellation and for a passed deadline.
    pub fn run(self, cancel: &Cancel) -> Result<Output, Failure> {
        self.checked(cancel)?.start(Stdout::Lines)?.wait(cancel)
    }

    /// Runs the command until it exits and returns its stdout; stderr goes to the log, the observer and the last lines.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn capture(self, cancel: &Cancel) -> Result<Output, Failure> {
        self.checked(cancel)?.start(Stdout::Captured)?.wait(cancel)
    }

    /// Starts the command and returns. With a log and without an observer the child writes to the log itself, so that
    /// it can outlive this process.
    ///
    /// # Errors
    /// [`Failure`] if the command could not be started or recorded.
    pub fn spawn(self) -> Result<Child, Failure> {
        self.start(Stdout::Lines)
    }

    /// Fails if `cancel` has fired: nothing is started after a cancellation.
    pub(crate) fn checked(self, cancel: &Cancel) -> Result<Self, Failure> {
        if cancel.is_cancelled() {
            return Err(Failure::new(
                self.own_name(),
                self.command_line(),
                Outcome::Cancelled,
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
        let failed = |reason: String| Failure::new(name.clone(), shown.clone(), Outcome::NotStarted(reason));

        let log = self
            .log
            .as_deref()
            .map(|path| {
                Log::open(path, &shown)
                    .map_err(|error| failed(format!("cannot open its log {}: {error}", path.display())))
            })
            .transpose()?;
        let direct = log.is_some() && self.observer.is_none();
        let mut gatherer = Gatherer::new(log, direct);
        let input = self
            .connect(stdout, &mut gatherer, direct)
            .map_err(|error| failed(format!("cannot connect its standard streams: {error}")))?;

        if let Some(path) = &self.record {
            self.inner.env(tags::RECORD, path);
        }
        if let Some(own) = tags::owner_tag() {
            self.inner.env(tags::OWNER, own);
        }
        let program = Path::new(self.inner.get_program()).file_name();
        let program = program.map(|name| name.to_string_lossy().into_owned());
        cargo::remove_package_variables(&mut self.inner, &program.unwrap_or_default());
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
        // The command holds the child's ends of the pipes: a reader would wait for them forever.
        drop(self.inner);
        let child = Child::adopt(process, name.clone(), shown.clone(), gatherer, &self.ending)
            .map_err(|error| failed(format!("cannot start the thread that waits for it: {error}")))?;
        match record.map(|(path, record)| (path, record.and_then(|record| record.write(path)))) {
            // A child that has exited already reports its exit code to the one that waits for it.
            None | Some((_, Ok(()) | Err(RecordError::Gone(_)))) => {}
            Some((path, Err(error))) => return Err(child.fail(error.to_string(), path)),
        }
        Ok(child)
    }

    /// Connects the standard streams; returns the pipe for the input, if there is any.
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
            // A common pipe keeps the order of stdout and stderr.
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
            io::ErrorKind::PermissionDenied => {
                format!("{program} cannot be executed: {error}; check its permissions")
            }
            _ => error.to_string(),
        }
    }
}

/// Writes the input from a thread: the child may print before it reads, and may exit without reading.
fn feed(mut writer: io::PipeWriter, bytes: Vec<u8>) {
    let fed = thread::Builder::new().name("input".to_owned()).spawn(move || {
        // If unread input matters, the child reports it by its exit code.
        let _unread = writer.write_all(&bytes);
    });
    // Without the thread the pipe is closed, and the child reads an empty input.
    drop(fed);
}
