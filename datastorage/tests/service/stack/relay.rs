//! A network between the service and PostgreSQL that can swallow what is sent.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes connections on to a port of this machine, or takes them and stays silent.
pub(crate) struct Relay {
    port: u16,
    network: Arc<Mutex<Network>>,
}

struct Network {
    swallows: bool,
    /// Ends of the connections that are passed on.
    passed: Vec<TcpStream>,
    /// Connections that nobody answers, not even when the network is back.
    silent: Vec<TcpStream>,
}

impl Relay {
    /// To a port of this machine; passes connections on until told otherwise.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::new(Mutex::new(Network {
            swallows: false,
            passed: Vec::new(),
            silent: Vec::new(),
        }));
        let shared = Arc::clone(&network);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                take(client.unwrap(), target, &mut shared.lock().unwrap());
            }
        });
        Self { port, network }
    }

    /// The port that stands for the target's.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the connections there are, and answers new ones with silence.
    pub(crate) fn swallow(&self) {
        let mut network = self.network.lock().unwrap();
        network.swallows = true;
        for end in network.passed.drain(..) {
            // It may have ended by itself.
            end.shutdown(Shutdown::Both).ok();
        }
    }

    /// Passes new connections on again; those that met silence stay silent.
    pub(crate) fn forward(&self) {
        self.network.lock().unwrap().swallows = false;
    }
}

fn take(client: TcpStream, target: u16, network: &mut Network) {
    if network.swallows {
        network.silent.push(client);
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
    for (from, to) in [(&client, &server), (&server, &client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            // Either end may go at any time; then the other goes too.
            io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Both).ok();
        });
    }
    network.passed.extend([client, server]);
}
