//! "Text file busy": programs that this process has just written.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Maximum time during which a busy program is started again: a child that was forked has begun its own program long
/// before, also on an overloaded machine.
const LIMIT: Duration = Duration::from_secs(10);

/// Calls `start` again while the program is open for writing (ETXTBSY), for 10 s at most.
///
/// A process that writes a program and starts it races with its own threads: a child that another thread forks meanwhile
/// has a copy of the write descriptor until it executes its own program (<https://github.com/golang/go/issues/22315>).
/// No lock of ours would cover the forks of other libraries, so it is repeated, and only for this error.
///
/// # Errors
/// As `start`.
pub fn retry_while_busy<T>(mut start: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + LIMIT;
    let mut pause = Duration::from_millis(1);
    loop {
        match start() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() + pause < until =>
            {
                // The kernel does not report when the last write descriptor is closed.
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_errors_are_returned_at_once() {
        let mut calls = 0;
        let result: io::Result<()> = retry_while_busy(|| {
            calls += 1;
            Err(io::ErrorKind::NotFound.into())
        });
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(calls, 1);
    }
}
