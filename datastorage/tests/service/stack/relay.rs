//! A faulty network between the service and a store.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Forwards connections to a port of this machine, or answers them itself.
pub(crate) struct Relay {
    port: u16,
    target: u16,
    network: Arc<Mutex<Network>>,
}

struct Network {
    /// The response to new connections that are not forwarded; nothing more is sent to them.
    says: Option<&'static str>,
    /// What the client sends arrives after this delay.
    delay: Duration,
    /// Whether nothing arrives at present; the connections stay open.
    stalled: bool,
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
            delay: Duration::ZERO,
            stalled: false,
            passed: Vec::new(),
            strayed: Vec::new(),
        }));
        let shared = Arc::clone(&network);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                take(client.unwrap(), target, &shared);
            }
        });
        Self {
            port,
            target,
            network,
        }
    }

    /// The port of the relay.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The port to which it forwards.
    pub(crate) fn target(&self) -> u16 {
        self.target
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

    /// Delays what clients send.
    pub(crate) fn delay(&self, delay: Duration) {
        self.network.lock().unwrap().delay = delay;
    }

    /// Stops forwarding in the open and new connections, as a server that hangs; or goes on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.network.lock().unwrap().stalled = stalled;
    }
}

fn take(mut client: TcpStream, target: u16, shared: &Arc<Mutex<Network>>) {
    let mut network = shared.lock().unwrap();
    if let Some(says) = network.says {
        client.write_all(says.as_bytes()).unwrap();
        network.strayed.push(client);
        return;
    }
    let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
    for (from, to, is_request) in [(&client, &server, true), (&server, &client, false)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let network = Arc::clone(shared);
        std::thread::spawn(move || {
            // When either end closes, the other is closed too.
            pass(&mut from, &mut to, is_request, &network).ok();
            to.shutdown(Shutdown::Both).ok();
        });
    }
    network.passed.extend([client, server]);
}

fn pass(
    from: &mut TcpStream,
    to: &mut TcpStream,
    is_request: bool,
    network: &Mutex<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let delay = network.lock().unwrap().delay;
        if is_request {
            std::thread::sleep(delay);
        }
        while network.lock().unwrap().stalled {
            std::thread::sleep(Duration::from_millis(5));
        }
        to.write_all(&buffer[..read])?;
    }
}
