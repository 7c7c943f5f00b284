//! Programs that a bench starts. A signal ends all of them, and then the bench.

use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, ensure};
use subprocess::{Cancel, Command, Failure, Output, eprint_line};

/// Cancellation of every wait for a program or for a time.
static CANCEL: LazyLock<Cancel> = LazyLock::new(Cancel::new);

/// Installs the handler of Ctrl-C, SIGTERM and SIGHUP: the first one ends the programs, so that the bench fails and
/// removes its servers; the second one exits at once.
pub(crate) fn end_on_signals() -> anyhow::Result<()> {
    let count = AtomicUsize::new(0);
    let handler = move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            eprint_line("interrupted: cleaning up (Ctrl-C again to exit at once)");
            CANCEL.cancel();
        } else {
            eprint_line("exited without cleanup; `cargo xtask gc` removes the rest");
            process::exit(130);
        }
    };
    ctrlc::set_handler(handler).context("cannot install the handler of Ctrl-C")
}

/// Whether a signal ended the bench.
pub(crate) fn is_interrupted() -> bool {
    CANCEL.is_cancelled()
}

/// Fails after a signal.
pub(crate) fn check() -> anyhow::Result<()> {
    ensure!(!is_interrupted(), "interrupted");
    Ok(())
}

/// Waits for a time; fails at a signal.
pub(crate) fn sleep(time: Duration) -> anyhow::Result<()> {
    let (sender, signal) = channel();
    let _guard = CANCEL.on_cancel(move || {
        // Without a receiver the time has passed.
        let _ = sender.send(());
    });
    match signal.recv_timeout(time) {
        Err(RecvTimeoutError::Timeout) => Ok(()),
        _ => check(),
    }
}

/// Runs a program and returns its output; ends it at the limit or at a signal.
pub(crate) fn capture(command: process::Command, limit: Duration) -> Result<Output, Failure> {
    wait(Command::new(command).deadline(limit))
}

/// Like [`capture`], with `input` on stdin.
pub(crate) fn pipe(command: process::Command, input: &str, limit: Duration) -> Result<Output, Failure> {
    wait(Command::new(command).input(input).deadline(limit))
}

/// Runs a prepared command and returns its output; ends it at a signal.
pub(crate) fn wait(command: Command) -> Result<Output, Failure> {
    command.capture(&CANCEL)
}
