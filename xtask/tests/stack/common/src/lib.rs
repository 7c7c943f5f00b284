//! A service that only responds, or fails as the `behaviour` in its configuration says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

/// `NAME serve|migrate --config FILE`
pub fn main(name: &str) -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let text = arguments
        .last()
        .and_then(|file| std::fs::read_to_string(file).ok())
        .unwrap_or_default();
    let value = |key: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    let behaviour = value("behaviour");
    match (arguments.get(1).map(String::as_str), behaviour.as_str()) {
        (Some("migrate"), "migration") => {
            eprintln!("ERROR: relation \"orders\" already exists");
            return ExitCode::FAILURE;
        }
        (Some("migrate"), "hungry-job") => {
            hold(300);
            return ExitCode::SUCCESS;
        }
        (Some("migrate"), _) => return ExitCode::SUCCESS,
        (_, "crash") => {
            eprintln!("{name}: the key `orders.url` is missing");
            return ExitCode::FAILURE;
        }
        (_, "memory") => hold(4096),
        _ => {}
    }
    println!("{name} listens on {}", value("health"));
    let listener = match TcpListener::bind(value("health")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("{name}: cannot listen on {}: {error}", value("health"));
            return ExitCode::FAILURE;
        }
    };
    let version = match behaviour.as_str() {
        "version" => "0.0.1-old".to_owned(),
        _ => std::env::var("SERVICE_VERSION").unwrap_or_default(),
    };
    for stream in listener.incoming().flatten() {
        respond(stream, &behaviour, &version);
    }
    ExitCode::SUCCESS
}

/// Allocates memory and holds it for two seconds.
fn hold(mebibytes: usize) {
    let held: Vec<Vec<u8>> = (0..mebibytes).map(|_| vec![7; 1 << 20]).collect();
    let until = std::time::Instant::now() + Duration::from_secs(2);
    while std::time::Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    println!("{} MiB", held.len());
}

fn respond(mut stream: TcpStream, behaviour: &str, version: &str) {
    let mut request = [0; 1024];
    let count = stream.read(&mut request).unwrap_or(0);
    let is_liveness = String::from_utf8_lossy(&request[..count]).contains(" /healthz ");
    let (status, word) = if behaviour == "probe" && !is_liveness {
        println!("waiting for orders at 10.0.0.1:5432");
        ("503 Service Unavailable", "not_ready")
    } else {
        ("200 OK", "ready")
    };
    let body = format!(
        r#"{{"status":"{word}","version":"{version}","dependencies":{{"orders":{{"status":"{}"}}}}}}"#,
        if word == "ready" { "ok" } else { "down" }
    );
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // The client may be gone.
    let _gone = stream.write_all(response.as_bytes());
}

/// Fails unless `http://HOST:PORT/PATH` returns 200.
pub fn get(url: &str) -> Result<(), String> {
    let rest = url.trim_start_matches("http://");
    let (host, path) = rest.split_once('/').ok_or("no path")?;
    let mut stream = TcpStream::connect(host).map_err(|error| error.to_string())?;
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .map_err(|error| error.to_string())?;
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .map_err(|error| error.to_string())?;
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .map_err(|error| error.to_string())?;
    let status = response.lines().next().unwrap_or_default();
    if status.contains(" 200 ") {
        Ok(())
    } else {
        Err(status.to_owned())
    }
}
