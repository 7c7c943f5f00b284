//! Where each port of the stack is reached in this run: chosen once, before anything starts.

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

/// The range from which Kubernetes gives NodePorts, as it is where nobody changed it.
const FIRST_NODE_PORT: u16 = 30_000;

/// One port of the stack in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    /// Where the program listens in its pod.
    pub(crate) container: u16,
    /// The port of 127.0.0.1 that reaches it.
    pub(crate) host: u16,
    /// The NodePort of its Service.
    pub(crate) node: u16,
}

/// All ports of a run: owner → port's name → numbers.
pub(crate) type Ports = BTreeMap<String, BTreeMap<String, Assigned>>;

/// The ports of a run that is kept: the next round on it has the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) ports: Ports,
    pub(crate) api_port: u16,
}

impl Kept {
    /// Whether these are the ports of the stack as it is now.
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

/// Host ports of this run. Until the program that gets a port starts, the run listens on it; and as long as the run
/// lives, a lock on a file of the port's number tells other runs that it is spoken for: between the letting go and the
/// program's own listening it looks free.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    listeners: Mutex<BTreeMap<u16, TcpListener>>,
    locks: Mutex<Vec<File>>,
}

impl Reserved {
    /// Lets go of these ports: called right before the program that gets them starts.
    pub(crate) fn release(&self, ports: impl IntoIterator<Item = u16>) {
        let mut held = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            held.remove(&port);
        }
    }

    /// Holds one more port, any free one, and answers its number.
    pub(crate) fn any(&self, locks: &Path) -> anyhow::Result<u16> {
        // As many as other runs might have let go of at this moment.
        for _ in 0..100 {
            let Ok(listener) = listen(0) else { continue };
            let port = listener.local_addr()?.port();
            if self.hold(port, listener, locks).is_ok() {
                return Ok(port);
            }
        }
        anyhow::bail!(
            "no port of 127.0.0.1 that was tried is free, spoken for by no other run, and reaches who listens on it"
        )
    }

    /// Makes the port this run's.
    fn hold(&self, port: u16, listener: TcpListener, locks: &Path) -> Result<(), Unusable> {
        let lock = lock(locks, port)?;
        let mut held = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(lock);
        let mut held = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(port, listener);
        Ok(())
    }
}

/// Why a port can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// A program listens on it.
    InUse,
    /// Another run is about to use it.
    SpokenFor,
    /// Who connects to it does not come to who listens on it.
    NotReached,
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InUse => "is in use",
            Self::SpokenFor => "is spoken for by another run",
            Self::NotReached => {
                "does not reach who listens on it (a rule of the firewall sends its connections elsewhere; a container \
                 that was killed may have left it: `cargo xtask gc`, `podman ps --all`)"
            }
        })
    }
}

/// Why a port of 127.0.0.1 can't be had at this moment; nothing if it can.
pub(crate) fn unusable(port: u16) -> Option<Unusable> {
    listen(port).err()
}

/// Listens on a port of 127.0.0.1, any free one for 0, if that is of any use.
fn listen(port: u16) -> Result<TcpListener, Unusable> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|_| Unusable::InUse)?;
    if is_reached(&listener) {
        Ok(listener)
    } else {
        Err(Unusable::NotReached)
    }
}

/// Whether a connection to the listener's address comes to the listener. A container's published port is a rule that
/// sends connections on before any listener sees them; where the container was killed with all that looks after it,
/// the rule stays and the port looks free: Redis listened on it, and "HTTP/1.1 400 Bad Request" answered its probe.
fn is_reached(listener: &TcpListener) -> bool {
    const LONGEST: Duration = Duration::from_secs(1);
    let connect = || {
        let stream = TcpStream::connect_timeout(&listener.local_addr()?, LONGEST)?;
        let mut wait = [PollFd::new(listener, PollFlags::IN)];
        let limit = LONGEST.try_into().ok();
        if poll(&mut wait, limit.as_ref())? == 0 {
            return Ok(false);
        }
        let (_, from) = listener.accept()?;
        Ok::<_, std::io::Error>(from == stream.local_addr()?)
    };
    connect().unwrap_or(false)
}

/// Locks a port's file; without one where there can't be any, since the port itself is held too.
fn lock(folder: &Path, port: u16) -> Result<Option<File>, Unusable> {
    let opened = std::fs::create_dir_all(folder).and_then(|()| {
        let mut options = File::options();
        options.create(true).append(true);
        options.open(folder.join(port.to_string()))
    });
    let Ok(file) = opened else { return Ok(None) };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Unusable::SpokenFor),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// A declared host port that can't be had; another was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) declared: u16,
    pub(crate) why: Unusable,
    pub(crate) instead: u16,
}

/// Chooses every port: the declared host port where it is free, else any free one. The ports stay held until
/// they are [`Reserved::release`]d, and spoken for, by locks in that folder, as long as the run lives.
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
                    .with_context(|| format!("for {owner}.{name}"))?;
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
    fn a_port_that_a_run_let_go_of_is_still_spoken_for_as_long_as_the_run_lives() {
        let locks = tempfile::tempdir().unwrap();
        let run = Reserved::default();
        let port = run.any(locks.path()).unwrap();
        run.release([port]);
        let other = Reserved::default();
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(other.hold(port, free(), locks.path()), Err(Unusable::SpokenFor));
        drop(run);
        assert_eq!(other.hold(port, free(), locks.path()), Ok(()));
    }

    #[test]
    fn a_port_is_reached_unless_connections_to_it_come_elsewhere() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(is_reached(&listener));
        // What comes first on the listener is not the connection that was just made.
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(!is_reached(&listener));
        drop(other);
    }
}
