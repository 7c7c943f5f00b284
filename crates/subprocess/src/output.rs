//! Output of children: appended to the log, passed to the observer line by line, the last lines kept.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Number of last lines that are kept: enough for a compiler's error or the cause of a stack trace, few enough for a
/// report.
const LAST_LINES: usize = 20;
/// Maximum bytes of a kept line; the log has the whole line.
const MAX_KEPT: usize = 4096;
/// Maximum bytes of a line for the observer: programs may report a whole document in one line, but output without line
/// ends must not fill the memory.
const MAX_LINE: usize = 16 * 1024 * 1024;
/// Bytes at the end of a log in which its last lines are searched.
const TAIL: u64 = 64 * 1024;
/// Maximum time to wait for the end of the output after the exit: a daemon that the child started may hold the pipe
/// open forever.
const DRAIN: Duration = Duration::from_secs(1);

/// Result of a child that succeeded.
#[derive(Debug, Clone)]
pub struct Output {
    /// Captured stdout; empty if it was not captured.
    pub stdout: Vec<u8>,
    /// Last lines of stderr, and of stdout where it was not captured, oldest first.
    pub last_lines: Vec<String>,
    /// Time from start to exit.
    pub duration: Duration,
}

impl Output {
    /// Returns the captured stdout as text, without white space at its ends.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// Called with each line, without its line end.
pub(crate) type Observer = Box<dyn FnMut(&str) + Send>;

/// A log file, opened to append, and the offset at which this child's output begins.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    begin: u64,
}

impl Log {
    /// Opens the log, creates missing folders, and writes the command as the first line of this child's output.
    pub(crate) fn open(path: &Path, command: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "$ {command}")?;
        let begin = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            begin,
        })
    }
}

/// Returns the last lines of a file from `begin` on; none if it cannot be read.
pub(crate) fn last_lines_of(path: &Path, begin: u64) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(TAIL).max(begin)))?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail)?;
        Ok(tail)
    };
    let mut lines = Lines::default();
    for line in read().unwrap_or_default().split(|byte| *byte == b'\n') {
        lines.push(line, None);
    }
    lines.kept.into()
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    unfinished: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], observer: &mut Option<Observer>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.unfinished.extend_from_slice(&bytes[..end]);
            let line = std::mem::take(&mut self.unfinished);
            self.push(&line, observer.as_mut());
            bytes = &bytes[end + 1..];
        }
        // The rest of a line that is too long is never used.
        let left = MAX_LINE.saturating_sub(self.unfinished.len());
        self.unfinished.extend_from_slice(&bytes[..bytes.len().min(left)]);
    }

    fn finish(&mut self, observer: &mut Option<Observer>) {
        let line = std::mem::take(&mut self.unfinished);
        self.push(&line, observer.as_mut());
    }

    fn push(&mut self, line: &[u8], observer: Option<&mut Observer>) {
        // A progress bar rewrites its line with carriage returns: only its last state counts.
        let shown = line
            .rsplit(|byte| *byte == b'\r')
            .find(|part| !part.is_empty())
            .unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown[..shown.len().min(MAX_LINE)]);
        let shown = shown.trim_end();
        if shown.is_empty() {
            return;
        }
        if let Some(observer) = observer {
            observer(shown);
        }
        if self.kept.len() == LAST_LINES {
            self.kept.pop_front();
        }
        let end = shown.floor_char_boundary(MAX_KEPT);
        self.kept.push_back(shown[..end].to_owned());
    }
}

/// State shared by the reading threads and the waiting one.
#[derive(Default)]
struct Gathered {
    lines: Lines,
    captured: Vec<u8>,
    log_error: Option<String>,
}

fn lock(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects a child's output in the parent.
pub(crate) struct Gatherer {
    gathered: Arc<Mutex<Gathered>>,
    log: Option<Log>,
    /// The child writes to the log itself: this process reads nothing.
    direct: bool,
    ends: Sender<()>,
    /// In a mutex only because a receiver cannot be shared between threads.
    ended: Mutex<Receiver<()>>,
    readers: usize,
}

/// Output collected until the exit.
pub(crate) struct Collected {
    pub(crate) captured: Vec<u8>,
    pub(crate) last_lines: Vec<String>,
    pub(crate) log_error: Option<String>,
}

impl Gatherer {
    pub(crate) fn new(log: Option<Log>, direct: bool) -> Self {
        let (ends, ended) = channel();
        Self {
            gathered: Arc::default(),
            log,
            direct,
            ends,
            ended: Mutex::new(ended),
            readers: 0,
        }
    }

    pub(crate) fn log_path(&self) -> Option<PathBuf> {
        self.log.as_ref().map(|log| log.path.clone())
    }

    /// Returns the log, for a child that writes to it itself.
    pub(crate) fn log_file(&self) -> Option<&File> {
        self.log.as_ref().map(|log| &log.file)
    }

    /// Reads lines from `pipe` on a new thread.
    pub(crate) fn read_lines(&mut self, pipe: PipeReader, mut observer: Option<Observer>) -> io::Result<()> {
        let mut log = self.log.as_ref().map(|log| log.file.try_clone()).transpose()?;
        let gathered = Arc::clone(&self.gathered);
        self.read(pipe, move |bytes| {
            if let Some(file) = &mut log
                && let Err(error) = file.write_all(bytes)
            {
                lock(&gathered).log_error = Some(error.to_string());
                log = None;
            }
            let lines = &mut lock(&gathered).lines;
            match bytes {
                [] => lines.finish(&mut observer),
                _ => lines.feed(bytes, &mut observer),
            }
        })
    }

    /// Reads captured bytes from `pipe` on a new thread.
    pub(crate) fn read_data(&mut self, pipe: PipeReader) -> io::Result<()> {
        let gathered = Arc::clone(&self.gathered);
        self.read(pipe, move |bytes| {
            lock(&gathered).captured.extend_from_slice(bytes)
        })
    }

    /// Calls `take` with each chunk, and with an empty one at the end.
    fn read(&mut self, mut pipe: PipeReader, mut take: impl FnMut(&[u8]) + Send + 'static) -> io::Result<()> {
        let ends = self.ends.clone();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => take(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            take(&[]);
            // The receiver is gone when the child was dropped.
            let _gone = ends.send(());
        })?;
        self.readers += 1;
        Ok(())
    }

    /// Returns the output after the exit.
    pub(crate) fn finish(&mut self) -> Collected {
        let until = Instant::now() + DRAIN;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        while self.readers > 0
            && ended
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .is_ok()
        {
            self.readers -= 1;
        }
        let mut collected = self.so_far();
        collected.captured = std::mem::take(&mut lock(&self.gathered).captured);
        collected
    }

    /// Returns the last lines so far.
    pub(crate) fn so_far(&self) -> Collected {
        let gathered = lock(&self.gathered);
        let last_lines = match &self.log {
            Some(log) if self.direct => last_lines_of(&log.path, log.begin),
            _ => gathered.lines.kept.iter().cloned().collect(),
        };
        Collected {
            captured: Vec::new(),
            last_lines,
            log_error: gathered.log_error.clone(),
        }
    }
}
