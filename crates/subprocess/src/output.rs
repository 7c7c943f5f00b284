//! What a child prints: into its log as it comes, its last lines kept, each line shown to whoever watches.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Enough to hold a compiler's error or a stack trace's cause, little enough to stand in a report.
const LAST_LINES: usize = 20;
/// A line past this is cut where it is kept; the log has it whole.
const LONGEST_KEPT: usize = 4096;
/// A line past this is cut for the observer too: programs that report in lines put whole texts into one, but what
/// never ends a line must not fill the memory.
const LONGEST_LINE: usize = 16 * 1024 * 1024;
/// How far back from the end of a log its last lines are looked for.
const TAIL: u64 = 64 * 1024;
/// How long the readers wait for the end of the output once the child has ended: a daemon that it left behind
/// may hold the pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// What a child gave that ended well.
#[derive(Debug, Clone)]
pub struct Output {
    /// What it wrote to stdout, if that was captured; else empty.
    pub stdout: Vec<u8>,
    /// The last lines for people (stderr, and stdout where that was not captured), oldest first.
    pub last_lines: Vec<String>,
    /// How long it ran.
    pub duration: Duration,
}

impl Output {
    /// The captured stdout as text, without the white space around it.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// Called with each line, without its end.
pub(crate) type Observer = Box<dyn FnMut(&str) + Send>;

/// A log file, opened to append, and where this child's part begins.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    begin: u64,
}

impl Log {
    /// Opens (and makes, with its folder) the log and writes the command as its part's first line.
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

/// The last lines of a file from `begin` on. A file that can't be read has none.
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
        // What is past the longest line is never shown, so it need not be held either.
        let room = LONGEST_LINE.saturating_sub(self.unfinished.len());
        self.unfinished.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(&mut self, observer: &mut Option<Observer>) {
        let line = std::mem::take(&mut self.unfinished);
        self.push(&line, observer.as_mut());
    }

    fn push(&mut self, line: &[u8], observer: Option<&mut Observer>) {
        // Of a progress bar, which rewrites its line with carriage returns, the last state is what counts.
        let shown = line
            .rsplit(|byte| *byte == b'\r')
            .find(|part| !part.is_empty())
            .unwrap_or_default();
        let shown = String::from_utf8_lossy(&shown[..shown.len().min(LONGEST_LINE)]);
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
        let end = shown.floor_char_boundary(LONGEST_KEPT);
        self.kept.push_back(shown[..end].to_owned());
    }
}

/// What the reading threads share with the one that waits.
#[derive(Default)]
struct Gathered {
    lines: Lines,
    captured: Vec<u8>,
    log_error: Option<String>,
}

fn lock(gathered: &Mutex<Gathered>) -> MutexGuard<'_, Gathered> {
    gathered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a child's output goes, from the parent's side.
pub(crate) struct Gatherer {
    gathered: Arc<Mutex<Gathered>>,
    log: Option<Log>,
    /// The child writes to the log by itself: nothing passes through here.
    direct: bool,
    ends: Sender<()>,
    /// In a mutex for its being shared only: one thread finishes.
    ended: Mutex<Receiver<()>>,
    readers: usize,
}

/// What was gathered once the child has ended.
pub(crate) struct Gains {
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

    /// The log, for a child that writes to it by itself.
    pub(crate) fn log_file(&self) -> Option<&File> {
        self.log.as_ref().map(|log| &log.file)
    }

    /// Reads lines for people from `pipe` on a thread of its own.
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

    /// Reads data for the program from `pipe` on a thread of its own.
    pub(crate) fn read_data(&mut self, pipe: PipeReader) -> io::Result<()> {
        let gathered = Arc::clone(&self.gathered);
        self.read(pipe, move |bytes| {
            lock(&gathered).captured.extend_from_slice(bytes)
        })
    }

    /// Calls `take` with what comes, at the end with nothing.
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
            // The receiver is gone when nobody waits for this child any more.
            let _gone = ends.send(());
        })?;
        self.readers += 1;
        Ok(())
    }

    /// What has been gathered, once the child has ended.
    pub(crate) fn finish(&mut self) -> Gains {
        let until = Instant::now() + DRAIN;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        while self.readers > 0
            && ended
                .recv_timeout(until.saturating_duration_since(Instant::now()))
                .is_ok()
        {
            self.readers -= 1;
        }
        let mut gains = self.so_far();
        gains.captured = std::mem::take(&mut lock(&self.gathered).captured);
        gains
    }

    /// The last lines as they stand.
    pub(crate) fn so_far(&self) -> Gains {
        let gathered = lock(&self.gathered);
        let last_lines = match &self.log {
            Some(log) if self.direct => last_lines_of(&log.path, log.begin),
            _ => gathered.lines.kept.iter().cloned().collect(),
        };
        Gains {
            captured: Vec::new(),
            last_lines,
            log_error: gathered.log_error.clone(),
        }
    }
}
