//! Readiness probe of PostgreSQL by the first bytes of its protocol, without a client library.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::bail;

use crate::server::connect;

/// Connects to the server on `port`, which requests authentication when it is ready; the error is its message.
pub(super) fn probe(port: u16) -> anyhow::Result<()> {
    let mut stream = connect(port)?;
    stream.write_all(&startup())?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind[0] {
        b'R' => Ok(()),
        b'E' => bail!(message(&mut stream)),
        other => bail!("unexpected response {:?}: not a PostgreSQL", char::from(other)),
    }
}

/// Returns the startup message of protocol 3.0: length, version, pairs of names and values, a zero.
fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}

/// Reads an error message, fields of a letter and a string, and returns field M, the text.
fn message(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // The server closes the connection after an error; after a timeout the part that was read is enough.
    let _cut_short = stream.take(4096).read_to_end(&mut bytes);
    let fields = bytes.get(4..).unwrap_or_default().split(|byte| *byte == 0);
    let message = fields
        .filter_map(|field| field.strip_prefix(b"M"))
        .next()
        .unwrap_or(b"error without a message");
    String::from_utf8_lossy(message).into_owned()
}
