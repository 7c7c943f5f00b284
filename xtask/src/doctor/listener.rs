//! Owner of a listening port of this machine.

use std::process;
use std::time::Duration;

use subprocess::{Cancel, Command, proc};

/// Returns the program and process that listens on a TCP port: `redis-server (pid 4711)`. `None` if there is none or it
/// is hidden, as another user's process is.
pub(crate) fn owner(port: u16) -> Option<String> {
    if cfg!(target_os = "linux") {
        owner_by_proc(port)
    } else {
        owner_by_lsof(port)
    }
}

fn owner_by_proc(port: u16) -> Option<String> {
    let sockets = proc::listening_sockets(port);
    if sockets.is_empty() {
        return None;
    }
    let holds_one = |pid: &u32| {
        let files = proc::open_files(*pid).unwrap_or_default();
        files.iter().any(|file| sockets.contains(file))
    };
    // Workers, and children that have not started their own program yet, inherit the socket: the oldest is the owner.
    let holders = proc::pids().into_iter().filter(holds_one);
    let (_, pid) = holders
        .filter_map(|pid| Some((proc::Stat::of(pid)?.start_ticks, pid)))
        .min()?;
    let name = proc::read(format!("{pid}/comm")).unwrap_or_default();
    Some(format!("{name} (pid {pid})"))
}

fn owner_by_lsof(port: u16) -> Option<String> {
    let mut command = process::Command::new("lsof");
    command.args(["-nP", &format!("-iTCP:{port}"), "-sTCP:LISTEN", "-Fpc"]);
    let output = Command::new(command)
        .deadline(Duration::from_secs(10))
        .capture(&Cancel::never())
        .ok()?;
    let text = output.text();
    let field = |letter: char| text.lines().find_map(|line| line.strip_prefix(letter));
    Some(format!("{} (pid {})", field('c')?, field('p')?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn names_owner_of_listening_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let named = owner(port).unwrap();
        assert!(named.ends_with(&format!("(pid {})", process::id())), "{named}");
        drop(listener);
        // A child that another test is starting has a copy of the socket until it executes its program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while owner(port).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(owner(port), None);
    }
}
