//! The page in a real browser, from a test server, with a second page that inspects it. Without a browser the test is
//! listed and counted as ignored.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers, outside of the functions in which clippy.toml allows them"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};
use serde::Deserialize;

#[allow(dead_code, reason = "the tests of the files need the rest")]
#[path = "../report/fixture.rs"]
mod fixture;

/// Inspects the page, follows the link of each bar, and prints the result as text.
const VISITOR: &str = include_str!("visitor.html");

#[derive(Debug, Deserialize)]
struct Seen {
    bars: usize,
    visible: usize,
    marked: Vec<String>,
    /// Resources that the page requested.
    resources: Vec<String>,
    violations: Vec<String>,
    /// Log of each task as the browser showed it after a click on the bar.
    logs: Vec<(String, String)>,
    scripts: usize,
}

fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome", "chrome"]
        .iter()
        .find_map(|name| which::which(name).ok())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let browser = browser();
    let is_here = browser.is_some();
    let name = "browser_shows_bars_and_chain_opens_logs_and_requests_nothing_else";
    let mut trial = Trial::test(name, move || {
        check_page(&browser.ok_or("neither chromium nor chrome is on PATH")?);
        Ok(())
    });
    if !is_here {
        trial = trial
            .with_kind("skipped: neither chromium nor chrome is on PATH")
            .with_ignored_flag(true);
    }
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn check_page(browser: &Path) {
    let report = fixture::passed();
    let folder = tempfile::tempdir().unwrap();
    report::write_all(&report, folder.path()).unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    for (task, info) in &report.tasks {
        std::fs::write(
            folder.path().join(info.log.as_ref().unwrap()),
            format!("this is the log of {task}\n"),
        )
        .unwrap();
    }
    let seen = visit(browser, folder.path());

    let tasks = report.trace.tasks.len();
    assert_eq!((seen.bars, seen.visible), (tasks, tasks));
    let chain: BTreeSet<String> = report
        .trace
        .bounding_chain()
        .into_iter()
        .map(|link| link.task)
        .collect();
    assert_eq!(seen.marked.into_iter().collect::<BTreeSet<_>>(), chain);
    assert_eq!(seen.logs.len(), tasks);
    for (task, log) in seen.logs {
        assert_eq!(log.trim(), format!("this is the log of {task}"));
    }
    assert_eq!(seen.resources, Vec::<String>::new());
    assert_eq!(seen.violations, Vec::<String>::new());
    assert_eq!(seen.scripts, 0);
}

fn visit(browser: &Path, folder: &Path) -> Seen {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requested: Arc<Mutex<Vec<String>>> = Arc::default();
    let (served, log) = (folder.to_owned(), requested.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (served, log) = (served.clone(), log.clone());
            std::thread::spawn(move || respond(stream.unwrap(), &served, &log));
        }
    });
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        // Requests to other machines fail and appear in the list.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .args(["--virtual-time-budget=60000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{address}/visitor.html"))
        .output()
        .unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    let text = page
        .split("<pre id=\"seen\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next());
    let text = text.unwrap_or_else(|| {
        panic!(
            "the visitor printed nothing; requests: {requested:?}\n{page}\n{}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Serves one request per connection.
fn respond(mut stream: TcpStream, folder: &Path, requested: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|read| read > 2) {
        header.clear();
    }
    let Some(path) = first.split(' ').nth(1) else {
        return;
    };
    requested.lock().unwrap().push(path.to_owned());
    let body = match path {
        "/visitor.html" => Some(VISITOR.as_bytes().to_vec()),
        path => std::fs::read(folder.join(path.trim_start_matches('/'))).ok(),
    };
    let kind = if path.ends_with(".html") {
        "text/html"
    } else {
        "text/plain"
    };
    let (status, body) = body.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // The browser may close the connection at any time.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(&body));
}
