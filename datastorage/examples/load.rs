//! Load for benchmarks: as many requests as the connections allow, or a steady rate, over plain HTTP/1.1 with as
//! little work of its own as possible, because it runs on the measured machine.
//!
//! Prints one JSON object: `{"requests","events","failed","seconds","per_second","p50_ms","p95_ms","p99_ms","max_ms",
//! "statuses":{"201":N}}`. Ends by itself after `--seconds`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

#[derive(Parser)]
struct Options {
    /// HOST:PORT of the API; only loopback addresses are accepted.
    #[arg(long)]
    address: std::net::SocketAddr,
    #[arg(long, value_enum, default_value = "events")]
    what: What,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Events of one batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Requests per second over all connections; without it as many as they allow.
    #[arg(long)]
    rate: Option<u64>,
    /// Number of correlations over which events are spread.
    #[arg(long, default_value_t = 10_000)]
    correlations: u64,
    /// Prefix of the correlations' names.
    #[arg(long, default_value = "load")]
    prefix: String,
    /// File for the ids of acknowledged events, one per line.
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<std::path::PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum What {
    /// One event per request.
    Events,
    /// Batches.
    Batches,
    /// The first page of a correlation.
    Queries,
}

#[derive(Default)]
struct Tally {
    micros: Vec<u32>,
    statuses: BTreeMap<u16, u64>,
    broken: u64,
    acknowledged: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Arc::new(Options::parse());
    anyhow::ensure!(
        options.address.ip().is_loopback(),
        "load is limited to this machine: pass 127.0.0.1:PORT"
    );
    let begin = Instant::now();
    let end = begin + Duration::from_secs(options.seconds);
    let tasks: Vec<_> = (0..options.connections)
        .map(|number| tokio::spawn(connection(Arc::clone(&options), number as u64, begin, end)))
        .collect();
    let mut all = Tally::default();
    for task in tasks {
        let tally = task.await??;
        all.micros.extend(tally.micros);
        all.broken += tally.broken;
        all.acknowledged.push_str(&tally.acknowledged);
        for (status, count) in tally.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    if let Some(file) = &options.acknowledged {
        std::fs::write(file, &all.acknowledged)?;
    }
    report(&options, all, begin.elapsed().as_secs_f64())
}

fn report(options: &Options, mut all: Tally, seconds: f64) -> anyhow::Result<()> {
    all.micros.sort_unstable();
    let at = |share: f64| {
        let index = ((all.micros.len() as f64 - 1.0) * share).round() as usize;
        all.micros
            .get(index)
            .map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    };
    let requests: u64 = all.statuses.values().sum();
    let good: u64 = all
        .statuses
        .iter()
        .filter(|(status, _)| **status < 300)
        .map(|(_, count)| count)
        .sum();
    // A rejection is a designed response; whether it is expected, the calling program knows.
    let rejected = all.statuses.get(&503).copied().unwrap_or(0);
    let events = good
        * if options.what == What::Batches {
            options.batch as u64
        } else {
            1
        };
    let line = serde_json::json!({
        "requests": requests, "events": events, "failed": requests - good - rejected + all.broken, "seconds": seconds,
        "per_second": events as f64 / seconds,
        "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99), "max_ms": at(1.0), "statuses": all.statuses,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}

async fn connection(
    options: Arc<Options>,
    number: u64,
    begin: Instant,
    end: Instant,
) -> anyhow::Result<Tally> {
    let mut stream = TcpStream::connect(options.address)
        .await
        .context("cannot connect to the service")?;
    stream.set_nodelay(true)?;
    let mut tally = Tally::default();
    let (mut request, mut body, mut answer) = (String::new(), String::new(), Vec::new());
    let mut count = 0_u64;
    loop {
        let due = match options.rate {
            // Each connection has its own schedule; latency is measured from the scheduled time.
            Some(rate) => {
                let turn = count * options.connections as u64 + number;
                let due = begin + Duration::from_secs_f64(turn as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                due
            }
            None => Instant::now(),
        };
        if due >= end || Instant::now() >= end {
            return Ok(tally);
        }
        let event_id = build(&options, number, count, &mut request, &mut body);
        stream.write_all(request.as_bytes()).await?;
        match read_answer(&mut stream, &mut answer).await {
            Ok(status) => {
                *tally.statuses.entry(status).or_default() += 1;
                if options.acknowledged.is_some() && matches!(status, 201 | 202) {
                    writeln!(tally.acknowledged, "{event_id}")?;
                }
            }
            Err(error) => {
                eprintln!("a connection broke: {error:#}");
                tally.broken += 1;
                return Ok(tally);
            }
        }
        tally
            .micros
            .push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        count += 1;
    }
}

/// Writes a request; returns the id of its last event.
fn build(options: &Options, number: u64, count: u64, request: &mut String, body: &mut String) -> Uuid {
    request.clear();
    body.clear();
    let mut event_id = Uuid::nil();
    let turn = count * options.connections as u64 + number;
    let (path, method) = match options.what {
        What::Events => {
            event_id = event(options, turn, body);
            ("/api/v1/audit/events", "POST")
        }
        What::Batches => {
            for index in 0..options.batch {
                body.push(if index == 0 { '[' } else { ',' });
                event_id = event(
                    options,
                    turn.wrapping_mul(options.batch as u64) + index as u64,
                    body,
                );
            }
            body.push(']');
            ("/api/v1/audit/events/batch", "POST")
        }
        What::Queries => ("/api/v1/audit/events", "GET"),
    };
    let _ = if options.what == What::Queries {
        // Spread over all correlations, not in their order.
        let correlation = turn.wrapping_mul(7919) % options.correlations;
        write!(
            request,
            "{method} {path}?correlation_id={}-{correlation} HTTP/1.1\r\nHost: a\r\n\r\n",
            options.prefix
        )
    } else {
        write!(
            request,
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    event_id
}

/// The event that the benchmarks store, and its id; the pgbench script inserts the same row.
fn event(options: &Options, turn: u64, body: &mut String) -> Uuid {
    let event_id = Uuid::now_v7();
    let _ = write!(
        body,
        r#"{{"event_id":"{}","version":"1.0","event_type":"gateway.signal.received","event_timestamp":"{}","event_category":"gateway","event_action":"received","event_outcome":"success","correlation_id":"{}-{}","actor_type":"service","actor_id":"gateway","resource_type":"Pod","resource_id":"payment-api-789","namespace":"prod","cluster_name":"main","severity":"critical","duration_ms":12,"event_data":{{"fingerprint":"8ac6f8bc4acc94d391b44e85621242bb042d3ffb137aa5fc0d10b00316f30751","signal_name":"HighMemoryUsage","attempt":{turn},"labels":{{"alertname":"HighMemoryUsage","team":"payments","pod":"payment-api-789"}},"ratio":0.93}}}}"#,
        event_id,
        jiff::Timestamp::now(),
        options.prefix,
        turn % options.correlations,
    );
    event_id
}

/// Reads one response with a Content-Length; returns its status.
async fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<u16> {
    answer.clear();
    loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&answer[..end])?;
            let status = head.get(9..12).context("no status")?.parse()?;
            let length: usize = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(str::to_owned)
                })
                .context("no Content-Length")?
                .trim()
                .parse()?;
            while answer.len() < end + 4 + length {
                anyhow::ensure!(stream.read_buf(answer).await? > 0, "closed within a body");
            }
            return Ok(status);
        }
        anyhow::ensure!(stream.read_buf(answer).await? > 0, "closed before a response");
    }
}
