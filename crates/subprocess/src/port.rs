//! TCP ports for servers that can't bind port 0 themselves.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::proc;

/// Ports below the ephemeral range of every system by default (Linux: 32768, macOS and IANA: 49152), and above those
/// that well-known servers use.
const PORTS: Range<u16> = 20_000..30_000;

/// Returns a port of 127.0.0.1 on which no program listens.
///
/// The port is chosen at random outside the ephemeral range, so that no outgoing connection and no bind to port 0 takes
/// it before the server binds it. This process gets each port once. Another process may still bind it first: start the
/// server again on another port when it reports "Address already in use".
///
/// # Errors
/// If none of 1000 ports is free.
pub fn free_port() -> io::Result<u16> {
    static RETURNED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut returned = RETURNED.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let port = random_port();
        if !returned.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            returned.insert(port);
            return Ok(port);
        }
    }
    Err(io::Error::other(format!(
        "found no free port of 127.0.0.1 from {} to {} (tried 1000)",
        PORTS.start, PORTS.end
    )))
}

fn random_port() -> u16 {
    // Each RandomState has keys of its own, from the system's source of randomness.
    let random = RandomState::new().hash_one(0_u8);
    let range = ports();
    let offset = random % u64::from(range.end - range.start);
    range.start + offset as u16
}

/// [`PORTS`], or what is below the ephemeral range where that begins earlier.
fn ports() -> Range<u16> {
    let first_ephemeral = proc::read("sys/net/ipv4/ip_local_port_range")
        .and_then(|text| text.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(PORTS.end);
    match first_ephemeral {
        ..=1024 => PORTS,
        // A machine with nearly all ports ephemeral: the upper half of what is left.
        first if first <= PORTS.start => (1024 + (first - 1024) / 2)..first,
        first => PORTS.start..PORTS.end.min(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_returned_twice_and_each_can_be_bound() {
        let ports: Vec<u16> = (0..50).map(|_| free_port().unwrap()).collect();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 50);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn ports_are_outside_the_ephemeral_range() {
        let text = proc::read("sys/net/ipv4/ip_local_port_range").unwrap();
        let bounds: Vec<u16> = text
            .split_whitespace()
            .map(|bound| bound.parse().unwrap())
            .collect();
        let port = free_port().unwrap();
        assert!(!(bounds[0]..=bounds[1]).contains(&port), "{port} is in {text}");
    }
}
