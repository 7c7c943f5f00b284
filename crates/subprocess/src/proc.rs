//! Processes and memory as Linux describes them below `/proc`; see proc(5). On other systems every function returns
//! nothing or an error.
//!
//! Own code instead of the crate `procfs`: that takes 13 s to compile, these functions none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Process ids of this machine, in no order.
#[must_use]
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Content of a file below `/proc`, such as `net/tcp` or `4711/comm`, without white space at its ends.
#[must_use]
pub fn read(file: impl AsRef<Path>) -> Option<String> {
    let bytes = fs::read(Path::new("/proc").join(file)).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A number from a file of `Name: number [kB]` lines, such as `meminfo` or `4711/status`; sizes in bytes.
///
/// ```
/// if cfg!(target_os = "linux") {
///     assert!(subprocess::proc::field("self/status", "VmHWM") > Some(0));
/// }
/// ```
#[must_use]
pub fn field(file: impl AsRef<Path>, name: &str) -> Option<u64> {
    field_of(&read(file)?, name)
}

fn field_of(text: &str, name: &str) -> Option<u64> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut words = value.split_ascii_whitespace();
    let number: u64 = words.next()?.parse().ok()?;
    Some(if words.next() == Some("kB") {
        number * 1024
    } else {
        number
    })
}

/// Available memory in bytes.
#[must_use]
pub fn available_memory() -> Option<u64> {
    field("meminfo", "MemAvailable")
}

/// Working folder of a process.
#[must_use]
pub fn working_folder(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Files and sockets (`socket:[12345]`) that a process has open; none once it exits.
///
/// # Errors
/// If there is no such process, or its files must not be read.
pub fn open_files(pid: u32) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(format!("/proc/{pid}/fd"))?
        .map(|entry| fs::read_link(entry?.path()))
        // Closed in the meantime.
        .filter(|file| !matches!(file, Err(error) if error.kind() == io::ErrorKind::NotFound))
        .collect()
}

/// Sockets that listen on a TCP port, as [`open_files`] names them; more than one where several addresses are bound.
#[must_use]
pub fn listening_sockets(port: u16) -> Vec<PathBuf> {
    let tables = ["net/tcp", "net/tcp6"].map(|table| read(table).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| listening_in(table, port))
        .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
        .collect()
}

/// Inodes of the listening sockets in a table: field 2 is address and port in hexadecimal, field 4 the state (0A
/// listens), field 10 the inode.
fn listening_in(table: &str, port: u16) -> Vec<&str> {
    let port = format!(":{port:04X}");
    let lines = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).copied()).flatten()
    });
    lines.collect()
}

/// State and usage of a process: `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// State, for example `R` (running) or `Z` (zombie).
    pub state: char,
    /// Process id of the parent.
    pub parent: u32,
    /// Process id of the session leader.
    pub session: u32,
    /// CPU time of its own threads in user and kernel mode, without its children's.
    pub cpu: Duration,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

impl Stat {
    /// The process with this id, if there is one; a zombie is one, too.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Self::parse(&read(format!("{pid}/stat"))?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name (field 2) is in parentheses and may contain spaces and parentheses: count from the last one.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the state is field 3.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let ticks = (number(14)? + number(15)?) as f64;
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: number(4)?.try_into().ok()?,
            session: number(6)?.try_into().ok()?,
            cpu: Duration::from_secs_f64(ticks / rustix::param::clock_ticks_per_second() as f64),
            start_ticks: number(22)?,
            resident_bytes: number(24)? * rustix::param::page_size() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_fields() {
        let text = "4711 (a) b (c)) S 7 4711 12 0 -1 0 0 0 0 0 150 50 9 9 20 0 1 0 987 1000 3 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.parent, stat.session), ('S', 7, 12));
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(stat.cpu, Duration::from_secs_f64(200.0 / ticks));
        assert_eq!(stat.start_ticks, 987);
        assert_eq!(stat.resident_bytes, 3 * rustix::param::page_size() as u64);
        assert_eq!(Stat::parse("4711 (cut"), None);
    }

    #[test]
    fn sizes_are_bytes_and_other_numbers_are_as_written() {
        let text = "Name:\tx\nVmHWM:\t    2048 kB\nThreads:\t7\n";
        assert_eq!(field_of(text, "VmHWM"), Some(2 << 20));
        assert_eq!(field_of(text, "Threads"), Some(7));
        assert_eq!(field_of(text, "VmH"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_listening_port_leads_to_its_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = listening_sockets(port);
        let is_own = || {
            let own = open_files(std::process::id()).unwrap();
            sockets.iter().any(|socket| own.contains(socket))
        };
        assert!(is_own());
        // The port may be in use even then: a child forked meanwhile holds the socket until it starts its program.
        drop(listener);
        assert!(!is_own());
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let line = |port: &str, state: &str, inode| {
            format!("0: 0100007F:{port} 00000000:0000 {state} 0:0 00:0 0 0 0 {inode} 1\n")
        };
        let table = [
            "header\n".to_owned(),
            line("1F90", "0A", 7),
            line("1F90", "01", 8),
            line("1F91", "0A", 9),
        ];
        assert_eq!(listening_in(&table.concat(), 0x1F90), ["7"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found() {
        let own = std::process::id();
        assert!(pids().contains(&own));
        let stat = Stat::of(own).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(stat.resident_bytes > 0);
        assert_eq!(working_folder(own), std::env::current_dir().ok());
        let open = tempfile::NamedTempFile::new().unwrap();
        assert!(
            open_files(own)
                .unwrap()
                .contains(&open.path().canonicalize().unwrap())
        );
        assert!(available_memory() > Some(0));
    }
}
