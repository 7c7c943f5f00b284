//! A network between the service and a store that can go wrong.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes connections on to a port of this machine, or takes them and does something else.
pub(crate) struct Relay {
    port: u16,
    network: Arc<Mutex<Network>>,
}

struct Network {
    /// What new connections are told, if they are not passed on; nothing more is ever sent to them.
    says: Option<&'static str>,
    /// Ends of the connections that are passed on.
    passed: Vec<TcpStream>,
    /// Connections that were not passed on; they stay open, also when the network is back.
    strayed: Vec<TcpStream>,
}

impl Relay {
    /// To a port of this machine; passes connections on until told otherwise.
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

    /// The port that stands for the target's.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the connections there are, and answers new ones with silence.
    pub(crate) fn swallow(&self) {
        self.stray("");
    }

    /// Ends the connections there are, and leads new ones to somebody who says this.
    pub(crate) fn stray(&self, says: &'static str) {
        let mut network = self.network.lock().unwrap();
        network.says = Some(says);
        for end in network.passed.drain(..) {
            // It may have ended by itself.
            end.shutdown(Shutdown::Both).ok();
        }
    }

    /// Passes new connections on again; those that strayed do not come back.
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
            // Either end may go at any time; then the other goes too.
            io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Both).ok();
        });
    }
    network.passed.extend([client, server]);
}
