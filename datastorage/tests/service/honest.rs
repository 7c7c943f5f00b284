//! Honest histories: whatever happens to a service and its stores, verification reports nothing.
//!
//! Each round is one life of a stack, with outages, kills, changes of the HMAC key, rolling updates, holds and retention
//! in the order of a seed, and writes of any JSON to 20 chains at each step.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tlog::{Algorithm, SignerKey};

use crate::stack::random::Random;
use crate::stack::{EVENTS, Servers, Service, event, name, text, until};

/// Histories of a round: one for each chain.
const CHAINS: usize = 20;

/// Steps of a round.
const STEPS: usize = 8;

/// Number of histories; `DATASTORAGE_HISTORIES` sets another one.
const HISTORIES: usize = 20;

const BATCH: &str = "/api/v1/audit/events/batch";
const HOLD: &str = "/api/v1/audit/legal-hold";

/// Random JSON, as text: a value of a library would round its numbers.
fn any_json(random: &mut Random, depth: usize) -> String {
    let strings = [
        r#""""#,
        r#""é\u0001\ud83d\ude00""#,
        r#""\\ \" \/ \n""#,
        r#""null""#,
    ];
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => random.choose(&["true", "false", "null"]).to_owned(),
        1 => random.choose(&strings).to_owned(),
        2 => format!("{}", random.below(1 << 30)),
        3 => format!(
            "{}{}.{}e{}",
            random.choose(&["", "-"]),
            random.below(1 << 20),
            random.below(1 << 30),
            random.choose(&["-20", "+17", "0", "300", "-320"])
        ),
        4 => format!("{}{:030}", 1 + random.below(9), random.below(1 << 30)),
        5 => {
            let items: Vec<String> = (0..random.below(4))
                .map(|_| any_json(random, depth - 1))
                .collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let members: Vec<String> = (0..random.below(4))
                .map(|index| {
                    format!(
                        "\"{}{index}\":{}",
                        random.choose(&["", "a.b", "ü", " "]),
                        any_json(random, depth - 1)
                    )
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// One stack with its keys.
struct Round {
    random: Random,
    servers: Arc<Servers>,
    folder: TempDir,
    /// HMAC keys, oldest first.
    keys: Vec<PathBuf>,
    service: Service,
    chains: Vec<String>,
    held: Vec<String>,
    /// What happened, for a failure.
    story: Vec<&'static str>,
}

impl Round {
    fn begin(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SignerKey::generate("example.com/audit", Algorithm::Ed25519).unwrap();
        fs::write(folder.path().join("log-key"), key.to_secret_text()).unwrap();
        let servers = Arc::new(Servers::own());
        let service = Service::start_with(Arc::clone(&servers), &config(folder.path(), &[]));
        Self {
            random: Random::new(seed),
            servers,
            folder,
            keys: Vec::new(),
            service,
            chains: (0..CHAINS).map(|_| name("honest")).collect(),
            held: Vec::new(),
            story: Vec::new(),
        }
    }

    fn start(&mut self) {
        let config = config(self.folder.path(), &self.keys);
        self.service = Service::start_with(Arc::clone(&self.servers), &config);
    }

    /// Writes to some chains, through a service.
    fn write(&mut self, through: Option<&Service>) {
        for _ in 0..4 {
            let chain = self.chains[self.random.below(CHAINS)].clone();
            let mut events = Vec::new();
            for _ in 0..=self.random.below(4) {
                let mut event = event(&chain);
                if self.random.below(4) == 0 {
                    let old = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(72);
                    event["event_timestamp"] = json!(old.to_string());
                    event["retention_days"] = json!(1);
                }
                event["event_data"] = json!({"any": "DATA"});
                events.push(
                    event
                        .to_string()
                        .replace("\"DATA\"", &any_json(&mut self.random, 3)),
                );
            }
            let (path, body) = match events.as_slice() {
                [event] => (EVENTS, event.clone()),
                events => (BATCH, format!("[{}]", events.join(","))),
            };
            let service = through.unwrap_or(&self.service);
            let answer = service.send_text("POST", path, Some(&body), &[]);
            assert!([201, 202].contains(&answer.status), "{}: {body}", answer.text);
        }
    }

    fn drained(&self) {
        until("the stream is empty", 60, || match self.servers.waiting() {
            0 => Ok(()),
            waiting => Err(format!("{waiting} entries wait")),
        });
    }

    fn step(&mut self) {
        self.write(None);
        match self.random.below(6) {
            0 => {
                self.story.push("an outage of PostgreSQL");
                self.servers.postgres.stop().unwrap();
                self.write(None);
                self.servers.postgres.restart().unwrap();
                self.write(None);
            }
            1 => {
                self.story.push("an outage, and a kill while events wait");
                self.servers.postgres.stop().unwrap();
                self.write(None);
                self.service.kill();
                self.servers.postgres.restart().unwrap();
                self.start();
            }
            2 => {
                self.story.push("a kill");
                self.service.kill();
                self.start();
            }
            3 => {
                self.story.push("a rolling update to another HMAC key");
                let file = self.folder.path().join(format!("key-{}", self.keys.len()));
                fs::write(&file, format!("{:0>32}", self.keys.len() + 1)).unwrap();
                self.keys.push(file);
                let config = config(self.folder.path(), &self.keys);
                let next = Service::start_with(Arc::clone(&self.servers), &config);
                for _ in 0..2 {
                    self.write(None);
                    self.write(Some(&next));
                }
                self.service = next;
            }
            4 => {
                self.story.push("a hold");
                let chain = self.chains[self.random.below(CHAINS)].clone();
                let hold = json!({"correlation_id": chain, "reason": "case"});
                assert!([201, 409].contains(&self.service.post(HOLD, &hold).status));
                self.held.push(chain);
            }
            _ => {
                self.story.push("the release of a hold");
                if let Some(chain) = self.held.pop() {
                    let path = format!("{HOLD}?correlation_id={chain}");
                    assert!([200, 404].contains(&self.service.send("DELETE", &path, None, &[]).status));
                }
            }
        }
        // The next outage is no longer than Redis' room.
        self.drained();
    }

    /// Verifies everything against the last checkpoint, and each chain by itself.
    fn verify(&self, seed: u64) {
        let mut story = format!("seed {seed}: {}", self.story.join(", "));
        let checkpoint = self.folder.path().join("checkpoint");
        until("a checkpoint of everything", 60, || {
            let pending = self.servers.count("SELECT count(*) FROM audit_log_pending");
            let size = self.servers.count("SELECT size FROM audit_log_size");
            let text = fs::read_to_string(&checkpoint).unwrap_or_default();
            match text.lines().nth(1) {
                Some(line) if pending == 0 && line == size.to_string() => Ok(()),
                _ => Err(format!("{pending} wait, size {size}: {text}")),
            }
        });
        for chain in &self.chains {
            let answer = self
                .service
                .post("/api/v1/audit/verify-chain", &json!({"correlation_id": chain}));
            let verification: Value = answer.json();
            // Retention may have removed the whole chain.
            if answer.status != 404 {
                assert_eq!(verification["is_valid"], true, "{story}: {verification}");
            }
        }
        let output = self
            .service
            .run(&["verify"], &["--checkpoint", checkpoint.to_str().unwrap()]);
        let _ = write!(story, ": {}", text(&output));
        assert_eq!(output.status.code(), Some(0), "{story}");
    }
}

fn config(folder: &Path, keys: &[PathBuf]) -> String {
    let here = folder.display();
    let mut config = format!(
        "[transparency]\nkey_file = '{here}/log-key'\ncheckpoint_file = '{here}/checkpoint'\ninterval_ms = 50\n\
         [retention]\ninterval_ms = 1000\n[stream]\ndrain_interval_ms = 20\n"
    );
    if let [previous @ .., current] = keys {
        let previous: Vec<String> = previous
            .iter()
            .rev()
            .map(|file| format!("'{}'", file.display()))
            .collect();
        let _ = write!(
            config,
            "[chain]\nhmac_key_file = '{}'\nprevious_hmac_key_files = [{}]\n",
            current.display(),
            previous.join(", ")
        );
    }
    config
}

#[test]
fn honest_histories_are_never_reported() {
    let histories =
        std::env::var("DATASTORAGE_HISTORIES").map_or(HISTORIES, |number| number.parse().unwrap());
    for seed in 1..=histories.div_ceil(CHAINS) as u64 {
        let mut round = Round::begin(seed);
        for _ in 0..STEPS {
            round.step();
        }
        round.verify(seed);
    }
}
