//! A faulty network between the service and a store.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Forwards connections to a port of this machine, or answers them itself.
pub(crate) struct Relay {
    port: u16,
    network: Arc<Mutex<Network>>,
}

struct Network {
    /// The response to new connections that are not forwarded; nothing more is sent to them.
    says: Option<&'static str>,
    /// Ends of the forwarded connections.
    passed: Vec<TcpStream>,
    /// Connections that were not forwarded; they stay open, even when forwarding resumes.
    strayed: Vec<TcpStream>,
}

impl Relay {
    /// Creates a relay to a port of this machine that forwards connections.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Mutex::new(Network {
            says: None,
            passed: Vec::new(),
            strayed: Vec::new(),
        }));
        let shared = Arc::clone(&network);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                take(client.unwrap(), target, &mut shared.lock().unwrap());
            }
        });
        Self { port, network }
    }

    /// The port of the relay.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes the open connections, and answers new ones with silence.
    pub(crate) fn swallow(&self) {
        self.stray("");
    }

    /// Closes the open connections, and answers new ones with this text.
    pub(crate) fn stray(&self, says: &'static str) {
        let mut network = self.network.lock().unwrap();
        network.says = Some(says);
        for end in network.passed.drain(..) {
            // It may be closed already.
            end.shutdown(Shutdown::Both).ok();
        }
    }

    /// Forwards new connections again; the unanswered ones stay as they are.
    pub(crate) fn forward(&self) {
        self.network.lock().unwrap().says = None;
    }
}

fn take(mut client: TcpStream, target: u16, network: &mut Network) {
    if let Some(says) = network.says {
        client.write_all(says.as_bytes()).unwrap();
        network.strayed.push(client);
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            // When either end closes, the other is closed too.
            io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Both).ok();
        });
    }
    network.passed.extend([client, server]);
}
