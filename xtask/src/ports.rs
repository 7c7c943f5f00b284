//! Host ports of a run: all are chosen once, before anything starts.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, TryLockError},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::stack::Stack;

/// Maximum number of ports to try when a declared one can't be used.
const MAX_ATTEMPTS: usize = 100;

/// Start of Kubernetes' default NodePort range.
const FIRST_NODE_PORT: u16 = 30_000;

/// Numbers of one port of the stack in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    /// Port on which the program listens in its pod.
    pub(crate) container: u16,
    /// Port of 127.0.0.1 that leads to it.
    pub(crate) host: u16,
    /// NodePort of its Service.
    pub(crate) node: u16,
}

/// All ports of a run: owner → port's name → numbers.
pub(crate) type Ports = BTreeMap<String, BTreeMap<String, Assigned>>;

/// Ports of a kept run: its next round has the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) ports: Ports,
    pub(crate) api_port: u16,
}

impl Kept {
    /// Whether these are exactly the ports of this stack.
    pub(crate) fn fits(&self, stack: &Stack) -> bool {
        let known = |owner: &str, name: &str| self.ports.get(owner).and_then(|ports| ports.get(name));
        let same =
            |port: &crate::stack::Port, assigned: &Assigned| assigned.container == *port.container.get_ref();
        let fits = stack
            .ports()
            .all(|(owner, name, port)| known(owner, name).is_some_and(|kept| same(port, kept)));
        fits && stack.ports().count() == self.ports.values().map(BTreeMap::len).sum::<usize>()
    }
}

/// Reserved host ports of this run. The run listens on each until the program that uses it starts. Between the release
/// and the program's own bind a port looks free, so a lock on a file named by its number reserves it against other runs
/// for the whole run.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    listeners: Mutex<BTreeMap<u16, TcpListener>>,
    locks: Mutex<Vec<File>>,
}

impl Reserved {
    /// Releases these ports, right before the program that uses them starts.
    pub(crate) fn release(&self, ports: impl IntoIterator<Item = u16>) {
        let mut held = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            held.remove(&port);
        }
    }

    /// Reserves any free port outside the kernel's ephemeral range, so that no outgoing connection takes it after its
    /// release, and returns its number.
    pub(crate) fn any(&self, locks: &Path) -> anyhow::Result<u16> {
        let mut last = None;
        for _ in 0..MAX_ATTEMPTS {
            let port = subprocess::free_port()?;
            match listen(port).and_then(|listener| self.hold(port, listener, locks)) {
                Ok(()) => return Ok(port),
                Err(unusable) => last = Some((port, unusable)),
            }
        }
        let last = last.map(|(port, unusable)| format!("; the last, {port}, {unusable}"));
        anyhow::bail!(
            "found no usable port on 127.0.0.1 (tried {MAX_ATTEMPTS}{})",
            last.unwrap_or_default()
        )
    }

    /// Reserves a port for this run.
    fn hold(&self, port: u16, listener: TcpListener, locks: &Path) -> Result<(), Unusable> {
        let lock = lock(locks, port)?;
        let mut held = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(lock);
        let mut held = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(port, listener);
        Ok(())
    }
}

/// Why a port can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// A program listens on it.
    InUse,
    /// Another run has reserved it.
    Reserved,
    /// Connections to it are redirected elsewhere.
    Redirected,
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => formatter.write_str("is in use"),
            Self::Reserved => formatter.write_str("is reserved by another run"),
            Self::Redirected => write!(
                formatter,
                "is redirected by a firewall rule, perhaps of a killed container (see `{} gc` and `podman ps --all`)",
                crate::called_as()
            ),
        }
    }
}

/// Returns why a port of 127.0.0.1 can't be used now; `None` if it can.
pub(crate) fn unusable(port: u16) -> Option<Unusable> {
    listen(port).err()
}

/// Listens on a port of 127.0.0.1 and checks that connections arrive.
fn listen(port: u16) -> Result<TcpListener, Unusable> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|_| Unusable::InUse)?;
    if is_reached(&listener) {
        Ok(listener)
    } else {
        Err(Unusable::Redirected)
    }
}

/// Whether a connection to the listener's address arrives at the listener. A container's published port is a firewall
/// rule that redirects connections before any listener sees them. When the container's processes are all killed the
/// rule stays, and the port looks free.
fn is_reached(listener: &TcpListener) -> bool {
    // Loopback takes microseconds; the rest is for a loaded machine.
    const LIMIT: Duration = Duration::from_secs(5);
    let connect = || {
        let stream = TcpStream::connect_timeout(&listener.local_addr()?, LIMIT)?;
        let mut wait = [PollFd::new(listener, PollFlags::IN)];
        let limit = LIMIT.try_into().ok();
        if poll(&mut wait, limit.as_ref())? == 0 {
            return Ok(false);
        }
        let (_, from) = listener.accept()?;
        Ok::<_, std::io::Error>(from == stream.local_addr()?)
    };
    connect().unwrap_or(false)
}

/// Locks the file of a port. Returns no file where none can be created: the listener still reserves the port until its
/// release.
fn lock(folder: &Path, port: u16) -> Result<Option<File>, Unusable> {
    let opened = std::fs::create_dir_all(folder).and_then(|()| {
        let mut options = File::options();
        options.create(true).append(true);
        options.open(folder.join(port.to_string()))
    });
    let Ok(file) = opened else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Unusable::Reserved),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// A declared host port that can't be used, and its replacement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) declared: u16,
    pub(crate) why: Unusable,
    pub(crate) instead: u16,
}

/// Chooses every port: the declared host port where it is usable, else another one. The run listens on them until they
/// are [`Reserved::release`]d; lock files in `locks` reserve them until the run ends.
pub(crate) fn assign(stack: &Stack, locks: &Path) -> anyhow::Result<(Ports, Reserved, Vec<Taken>)> {
    let mut ports = Ports::new();
    let mut taken = Vec::new();
    let reserved = Reserved::default();
    for ((owner, name, port), node) in stack.ports().zip(FIRST_NODE_PORT..) {
        let declared = *port.host.get_ref();
        let as_declared = listen(declared).and_then(|listener| reserved.hold(declared, listener, locks));
        let host = match as_declared {
            Ok(()) => declared,
            Err(why) => {
                let instead = reserved
                    .any(locks)
                    .with_context(|| format!("cannot reserve a port for {owner}.{name}"))?;
                taken.push(Taken {
                    name: format!("{owner}.{name}"),
                    declared,
                    why,
                    instead,
                });
                instead
            }
        };
        let assigned = Assigned {
            container: *port.container.get_ref(),
            host,
            node,
        };
        ports
            .entry(owner.to_owned())
            .or_default()
            .insert(name.to_owned(), assigned);
    }
    Ok((ports, reserved, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_port_stays_reserved_until_run_ends() {
        let locks = tempfile::tempdir().unwrap();
        let run = Reserved::default();
        let port = run.any(locks.path()).unwrap();
        run.release([port]);
        let other = Reserved::default();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        // A child that another thread forked meanwhile holds the socket until it starts its program.
        let free = || loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(listener) => return listener,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        };
        assert_eq!(other.hold(port, free(), locks.path()), Err(Unusable::Reserved));
        drop(run);
        assert_eq!(other.hold(port, free(), locks.path()), Ok(()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn replacement_ports_are_outside_ephemeral_range() {
        let range = subprocess::proc::read("sys/net/ipv4/ip_local_port_range").unwrap();
        let bounds: Vec<u16> = range
            .split_whitespace()
            .map(|bound| bound.parse().unwrap())
            .collect();
        let locks = tempfile::tempdir().unwrap();
        let run = Reserved::default();
        for _ in 0..20 {
            let port = run.any(locks.path()).unwrap();
            assert!(!(bounds[0]..=bounds[1]).contains(&port), "{port} is in {range}");
            assert!(port < FIRST_NODE_PORT, "{port} is a NodePort");
        }
    }

    #[test]
    fn detects_connections_that_do_not_arrive_at_listener() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(is_reached(&listener));
        // This one is accepted first, in place of the one that `is_reached` makes.
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!is_reached(&listener));
        drop(other);
    }
}
