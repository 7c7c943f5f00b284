//! Programs that are written and started while other threads fork.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use subprocess::{Cancel, Command};

/// Without the retry one of the first ten starts fails on two cores.
const STARTS: usize = 200;

#[test]
fn a_program_that_was_just_written_starts_while_other_threads_fork() {
    let folder = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    process::Command::new("true").status().unwrap();
                }
            });
        }
        let starts = thread::Builder::new()
            .spawn_scoped(scope, || {
                for number in 0..STARTS {
                    let program = folder.path().join(format!("program{number}"));
                    fs::copy("/usr/bin/env", &program).unwrap();
                    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
                    let mut command = process::Command::new(&program);
                    command.arg("true");
                    Command::new(command).run(&Cancel::never()).unwrap();
                    fs::remove_file(&program).unwrap();
                }
            })
            .unwrap()
            .join();
        done.store(true, Ordering::Relaxed);
        starts.unwrap();
    });
}
