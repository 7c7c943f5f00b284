//! Who listens on a port of this machine.

use std::fs;
use std::process;
use std::time::Duration;

use subprocess::{Cancel, Command};

/// The program and process that listens on a TCP port: `redis-server (process 4711)`. None if nobody does or it can't
/// be told, as for another user's process.
pub(crate) fn who(port: u16) -> Option<String> {
    if cfg!(target_os = "linux") {
        who_by_proc(port)
    } else {
        who_by_lsof(port)
    }
}

fn who_by_proc(port: u16) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let socket = tables.iter().find_map(|table| listening_socket(table, port))?;
    let link = format!("socket:[{socket}]");
    let holds = |process: &&String| {
        let files = fs::read_dir(format!("/proc/{process}/fd"))
            .into_iter()
            .flatten()
            .flatten();
        files
            .filter_map(|file| fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == link.as_str())
    };
    let names = fs::read_dir("/proc").ok()?.flatten();
    let processes: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    // Workers, and children that have not begun their own program yet, hold their parent's socket too.
    let first = processes
        .iter()
        .filter(holds)
        .min_by_key(|process| started(process))?;
    let name = fs::read_to_string(format!("/proc/{first}/comm")).unwrap_or_default();
    Some(format!("{} (process {first})", name.trim()))
}

/// When a process started, in the kernel's clock ticks: the 22nd field, counted behind the name, which may have blanks.
fn started(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().nth(19);
    ticks.and_then(|ticks| ticks.parse().ok()).unwrap_or(u64::MAX)
}

/// The number of the socket that listens on `port`, from the kernel's table: the second field is address and port in
/// hexadecimal, the fourth the state (0A listens), the tenth the socket.
fn listening_socket(table: &str, port: u16) -> Option<&str> {
    let port = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).copied()).flatten()
    })
}

fn who_by_lsof(port: u16) -> Option<String> {
    let mut command = process::Command::new("lsof");
    command.args(["-nP", &format!("-iTCP:{port}"), "-sTCP:LISTEN", "-Fpc"]);
    let output = Command::new(command)
        .deadline(Duration::from_secs(10))
        .capture(&Cancel::never())
        .ok()?;
    let text = output.text();
    let field = |letter: char| text.lines().find_map(|line| line.strip_prefix(letter));
    Some(format!("{} (process {})", field('c')?, field('p')?))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_listener_of_ours_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let named = who(port).unwrap();
        assert!(
            named.ends_with(&format!("(process {})", process::id())),
            "{named}"
        );
        drop(listener);
        // A child that another test is starting has a copy of the socket until it runs its program.
        let deadline = Instant::now() + Duration::from_secs(10);
        while who(port).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(who(port), None);
    }

    #[test]
    fn a_process_started_before_its_child() {
        let mut child = process::Command::new("sleep").arg("60").spawn().unwrap();
        let (own, its) = (process::id().to_string(), child.id().to_string());
        assert!(0 < started(&own) && started(&own) <= started(&its) && started(&its) < u64::MAX);
        child.kill().and_then(|()| child.wait()).unwrap();
        assert_eq!(started(&its), u64::MAX);
    }

    #[test]
    fn a_connection_is_not_a_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000     0        0 111 1\n\
             1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1\n";
        assert_eq!(listening_socket(table, 8080), Some("222"));
        assert_eq!(listening_socket(table, 8081), None);
    }
}
