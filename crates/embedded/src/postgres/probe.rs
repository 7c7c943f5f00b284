//! Whether a PostgreSQL answers, without a client: the first bytes of its protocol tell.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the server on `port` asks for a password, which it does when it is ready; else what it says.
pub(super) fn answers(port: u16) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(told)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    stream.write_all(&startup()).map_err(told)?;
    let mut kind = [0];
    stream.read_exact(&mut kind).map_err(told)?;
    match kind[0] {
        b'R' => Ok(()),
        b'E' => Err(message(&mut stream)),
        other => Err(format!(
            "it answers with {:?}, which is no PostgreSQL",
            char::from(other)
        )),
    }
}

/// The startup message, protocol 3.0: length, version, pairs of names and values, a zero.
fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}

/// The text of an error message: fields of a letter and a string; M is for people.
fn message(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // The server closes the connection after an error; what came before a timeout will do too.
    let _cut_short = stream.take(4096).read_to_end(&mut bytes);
    let fields = bytes.get(4..).unwrap_or_default().split(|byte| *byte == 0);
    let message = fields
        .filter_map(|field| field.strip_prefix(b"M"))
        .next()
        .unwrap_or(b"an error without words");
    String::from_utf8_lossy(message).into_owned()
}
