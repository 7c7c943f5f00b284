//! Where each port of the stack is reached in this run: chosen once, before anything starts.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
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

/// Host ports that are held by listening on them, so that no other run takes them between the plan and the use.
#[derive(Debug, Default)]
pub(crate) struct Reserved(Mutex<BTreeMap<u16, TcpListener>>);

impl Reserved {
    /// Lets go of these ports: called right before the program that gets them starts.
    pub(crate) fn release(&self, ports: impl IntoIterator<Item = u16>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            held.remove(&port);
        }
    }
}

impl Reserved {
    /// Holds one more port, any free one, and answers its number.
    pub(crate) fn any(&self) -> anyhow::Result<u16> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port of 127.0.0.1")?;
        let port = listener.local_addr()?.port();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(port, listener);
        Ok(port)
    }
}

/// A declared host port that something else holds already; another was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) declared: u16,
    pub(crate) instead: u16,
}

/// Chooses every port: the declared host port where it is free, else any free one. The ports stay held until
/// they are [`Reserved::release`]d.
pub(crate) fn assign(stack: &Stack) -> anyhow::Result<(Ports, Reserved, Vec<Taken>)> {
    let mut ports = Ports::new();
    let mut taken = Vec::new();
    let mut held = BTreeMap::new();
    for ((owner, name, port), node) in stack.ports().zip(FIRST_NODE_PORT..) {
        let declared = *port.host.get_ref();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, declared))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .with_context(|| format!("no free port of 127.0.0.1 for {owner}.{name}"))?;
        let host = listener.local_addr()?.port();
        if host != declared {
            taken.push(Taken {
                name: format!("{owner}.{name}"),
                declared,
                instead: host,
            });
        }
        held.insert(host, listener);
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
    Ok((ports, Reserved(Mutex::new(held)), taken))
}
