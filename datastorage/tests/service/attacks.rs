//! A superuser with every key of the database against the last published checkpoint: seeded attacks of all kinds, each
//! on a copy of one honest history.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tlog::{Algorithm, SignerKey};

use crate::stack::random::Random;
use crate::stack::{EVENTS, Servers, Service, event, id_of, name, run, text, until};

const CHAINS: usize = 6;
const EACH: usize = 6;

/// Number of attacks; `DATASTORAGE_ATTACKS` sets another one.
const ATTACKS: u64 = 15;

/// Stores an event under a legal hold, and one whose data is erased: four leaves.
fn hold_and_erase(service: &Service, held: &str, erased: &Value) {
    assert_eq!(service.write(&event(held)).status, 201);
    let hold = json!({"correlation_id": held, "reason": "case 7"});
    assert_eq!(service.post("/api/v1/audit/legal-hold", &hold).status, 201);
    assert_eq!(service.write(erased).status, 201);
    let data = format!("{EVENTS}/{}/data?reason=request&erased_by=privacy", id_of(erased));
    assert_eq!(service.send("DELETE", &data, None, &[]).status, 204);
}

/// One honest history, whose service has ended.
struct History {
    servers: Arc<Servers>,
    /// Lines of the export, chain by chain.
    chains: Vec<Vec<Value>>,
    /// A chain under a legal hold.
    held: String,
    /// The id of an event whose data was erased.
    erased: String,
    folder: TempDir,
    key: TempDir,
}

impl History {
    /// Its database, an earlier state of it (`…_early`), and the checkpoint of the end.
    fn write() -> Self {
        let key = tempfile::tempdir().unwrap();
        let signer = SignerKey::generate("example.com/audit", Algorithm::Ed25519).unwrap();
        let (key_file, file) = (key.path().join("key"), key.path().join("checkpoint"));
        fs::write(&key_file, signer.to_secret_text()).unwrap();
        let config = format!(
            "[transparency]\nkey_file = {key_file:?}\ncheckpoint_file = {file:?}\ninterval_ms = 50\n"
        );
        let servers = Arc::new(Servers::shared());
        let correlations: Vec<String> = (0..CHAINS).map(|_| name("attacked")).collect();
        let (held, erased) = (name("held"), event(&name("erased")));
        for early in [true, false] {
            let service = Service::start_with(Arc::clone(&servers), &config);
            for correlation in &correlations {
                let events: Vec<Value> = (0..EACH / 2).map(|_| event(correlation)).collect();
                assert_eq!(
                    service.post("/api/v1/audit/events/batch", &json!(events)).status,
                    201
                );
            }
            let mut leaves = CHAINS * EACH / 2;
            if !early {
                hold_and_erase(&service, &held, &erased);
                leaves = CHAINS * EACH + 4;
            }
            until("everything is in a checkpoint", 30, || {
                let text = fs::read_to_string(&file).unwrap_or_default();
                match text.lines().nth(1) {
                    Some(size) if size == leaves.to_string() => Ok(()),
                    _ => Err(text),
                }
            });
            let export = service.get("/api/v1/audit/export").text;
            service.stop();
            if early {
                servers.copy_database(&servers.database, &format!("{}_early", servers.database));
                continue;
            }
            let lines = export.lines().map(|line| serde_json::from_str(line).unwrap());
            let mut chains = vec![Vec::new(); CHAINS];
            for line in lines {
                let line: Value = line;
                let correlation = line["event"]["correlation_id"].as_str().unwrap_or_default();
                if let Some(chain) = correlations.iter().position(|other| other == correlation) {
                    chains[chain].push(line);
                }
            }
            let folder = crate::stack::configured(&servers, &config);
            return Self {
                servers,
                chains,
                held,
                erased: id_of(&erased),
                folder,
                key,
            };
        }
        unreachable!("the second turn returns")
    }

    /// Verifies a database against the published checkpoint.
    fn verify(&self, database: &str) -> (Option<i32>, String) {
        let file = self.folder.path().join("config.toml");
        let config = fs::read_to_string(&file).unwrap();
        let changed = config.replace(
            &format!("database = '{}'", self.servers.database),
            &format!("database = '{database}'"),
        );
        fs::write(&file, changed).unwrap();
        let checkpoint = self.key.path().join("checkpoint");
        let output = run(&self.folder, &["verify"], &["--checkpoint", path(&checkpoint)]);
        fs::write(&file, config).unwrap();
        (output.status.code(), text(&output))
    }

    /// SQL that rewrites a chain from `position` on with other data, and recomputes everything that the database has of
    /// it: hashes, head, and, with `log`, the leaves.
    fn rewrite(&self, chain: usize, position: usize, log: bool) -> String {
        let lines = &self.chains[chain];
        let mut previous = hex::decode(lines[position]["previous_hash"].as_str().unwrap()).unwrap();
        let mut sql = Vec::new();
        let correlation = lines[0]["event"]["correlation_id"].as_str().unwrap();
        for (index, line) in lines.iter().enumerate().skip(position) {
            let mut event = line["event"].clone();
            if index == position {
                event["event_data"] = json!({"forged": true});
            }
            let data = event["event_data"].to_string();
            let salt = hex::decode(line["data_salt"].as_str().unwrap()).unwrap();
            let data_hash = hex::encode(Sha256::digest([&salt[..], data.as_bytes()].concat()));
            let content = event.to_string().replacen(
                &format!("\"event_data\":{data}"),
                &format!("\"event_data_hash\":\"{data_hash}\""),
                1,
            );
            let sequence = i64::try_from(index + 1).unwrap();
            let mut message = previous.clone();
            message.extend(sequence.to_be_bytes());
            message.extend(line["recorded_at_micros"].as_i64().unwrap().to_be_bytes());
            message.extend(Sha256::digest(content));
            let hash = Sha256::digest(message).to_vec();
            sql.push(format!(
                "UPDATE audit_events SET event_data = '{data}', previous_hash = '\\x{}', event_hash = '\\x{}'
                 WHERE correlation_id = '{correlation}' AND sequence = {sequence};
                 UPDATE audit_chain_heads SET event_hash = '\\x{}' WHERE correlation_id = '{correlation}'",
                hex::encode(&previous),
                hex::encode(&hash),
                hex::encode(&hash),
            ));
            if log {
                let leaf = tlog::leaf_hash(&[&[1], &hash[..]].concat());
                sql.push(format!(
                    "UPDATE audit_log_tiles SET hashes = overlay(hashes PLACING '\\x{}' FROM 1 + 32 * (
                         SELECT leaf_index FROM audit_log_leaves
                         WHERE correlation_id = '{correlation}' AND sequence = {sequence})::int FOR 32)
                     WHERE level = 0 AND tile_index = 0",
                    hex::encode(leaf)
                ));
            }
            previous = hash;
        }
        sql.join(";\n")
    }

    /// SQL that erases the data of an event as the service does, with the right hash.
    fn erase(&self, chain: usize, position: usize) -> String {
        let line = &self.chains[chain][position];
        let salt = hex::decode(line["data_salt"].as_str().unwrap()).unwrap();
        let data = line["event"]["event_data"].to_string();
        let hash = Sha256::digest([&salt[..], data.as_bytes()].concat());
        format!(
            "UPDATE audit_events SET event_data = '{{}}', data_salt = NULL, event_data_hash = '\\x{}'
             WHERE correlation_id = {} AND sequence = {}",
            hex::encode(hash),
            line["event"]["correlation_id"].to_string().replace('"', "'"),
            position + 1
        )
    }

    /// The attack of a seed: its name, the database to begin from, and SQL.
    fn attack(&self, random: &mut Random) -> (&'static str, String, String) {
        let chain = random.below(CHAINS);
        let position = random.below(EACH);
        let sequence = position + 1;
        let correlation = self.chains[chain][0]["event"]["correlation_id"].as_str().unwrap();
        let other = self.chains[(chain + 1) % CHAINS][0]["event"]["correlation_id"]
            .as_str()
            .unwrap();
        let at = format!("correlation_id = '{correlation}' AND sequence = {sequence}");
        let from = format!("correlation_id = '{correlation}' AND sequence >= {sequence}");
        let head = match position {
            0 => format!("DELETE FROM audit_chain_heads WHERE correlation_id = '{correlation}'"),
            _ => format!(
                "UPDATE audit_chain_heads SET sequence = {position}, event_hash = (SELECT event_hash FROM audit_events
                 WHERE correlation_id = '{correlation}' AND sequence = {position}) WHERE correlation_id = '{correlation}'"
            ),
        };
        let base = self.servers.database.clone();
        let (name, sql) = match random.below(19) {
            0 => ("alter", format!("UPDATE audit_events SET severity = 'low' WHERE {at}")),
            1 => ("rewrite a chain", self.rewrite(chain, position, false)),
            2 => ("rewrite a chain and its leaves", self.rewrite(chain, position, true)),
            3 => ("delete", format!("DELETE FROM audit_events WHERE {at}")),
            4 => ("cut the end", format!("DELETE FROM audit_events WHERE {from}; {head}")),
            5 => (
                "cut the end and its leaves",
                format!("DELETE FROM audit_events WHERE {from}; {head}; DELETE FROM audit_log_leaves WHERE {from}"),
            ),
            6 => (
                "declare a gap",
                format!(
                    "INSERT INTO audit_chain_gaps (correlation_id, first_sequence, last_sequence, previous_hash, last_hash)
                     SELECT correlation_id, sequence, sequence, previous_hash, event_hash FROM audit_events WHERE {at};
                     DELETE FROM audit_events WHERE {at}"
                ),
            ),
            12 => (
                "declare a gap, in the log too",
                format!(
                    "INSERT INTO audit_chain_gaps (correlation_id, first_sequence, last_sequence, previous_hash, last_hash)
                     SELECT correlation_id, sequence, sequence, previous_hash, event_hash FROM audit_events WHERE {at};
                     INSERT INTO audit_log_pending SELECT 2, correlation_id, first_sequence, last_sequence,
                     sha256(convert_to(audit_gap_entry(gap), 'UTF8')), audit_gap_entry(gap) FROM audit_chain_gaps AS gap;
                     DELETE FROM audit_events WHERE {at}"
                ),
            ),
            7 => (
                "truncate",
                "TRUNCATE audit_events, audit_chain_heads, audit_chain_gaps, audit_event_ids".to_owned(),
            ),
            8 => (
                "truncate everything",
                "TRUNCATE audit_events, audit_chain_heads, audit_chain_gaps, audit_event_ids, audit_log_leaves,
                     audit_log_tiles, audit_log_checkpoints; UPDATE audit_log_size SET size = 0"
                    .to_owned(),
            ),
            9 => return ("put a backup back", format!("{base}_early"), "SELECT 1".to_owned()),
            10 => (
                "exchange leaves",
                format!(
                    "UPDATE audit_log_leaves SET correlation_id = CASE correlation_id WHEN '{correlation}' THEN '{other}'
                     ELSE '{correlation}' END WHERE sequence = {sequence} AND correlation_id IN ('{correlation}', '{other}')"
                ),
            ),
            13 => (
                "remove a legal hold",
                format!("DELETE FROM audit_legal_holds WHERE correlation_id = '{}'", self.held),
            ),
            14 => (
                "release a legal hold, in the log too",
                format!(
                    "UPDATE audit_legal_holds SET released_at = now(), released_by = 'judge' WHERE correlation_id = '{}';
                     INSERT INTO audit_log_pending SELECT 4, correlation_id, 0, 0, sha256(convert_to(entry, 'UTF8')), entry
                     FROM (SELECT correlation_id, audit_release_entry(hold) AS entry FROM audit_legal_holds AS hold) AS release",
                    self.held
                ),
            ),
            15 => ("erase data", self.erase(chain, position)),
            16 => (
                "erase data, in the log too",
                format!(
                    "{}; INSERT INTO audit_log_pending
                     SELECT 6, correlation_id, sequence, sequence, sha256(convert_to(entry, 'UTF8')), entry
                     FROM (SELECT correlation_id, sequence, concat_ws(E'\\n', 'erasure', event_id, correlation_id, sequence,
                               'judge', 0, 'order') AS entry FROM audit_events WHERE {at}) AS erasure",
                    self.erase(chain, position)
                ),
            ),
            17 => (
                "other data for what was erased",
                format!(
                    "UPDATE audit_events SET event_data = '{{\"forged\":true}}', data_salt = substr(sha256('salt'), 1, 16),
                     event_data_hash = NULL WHERE event_id = '{}'",
                    self.erased
                ),
            ),
            18 => (
                "remove the record of an erasure",
                "DELETE FROM audit_log_leaves WHERE kind = 7".to_owned(),
            ),
            _ => (
                "move an event to another chain",
                format!("UPDATE audit_events SET correlation_id = '{other}', sequence = {} WHERE {at}", EACH + 1),
            ),
        };
        (name, base, sql)
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_seeded_attack_is_found_by_the_last_checkpoint() {
    let history = History::write();
    let honest = history.verify(&history.servers.database);
    assert_eq!(honest.0, Some(0), "{}", honest.1);
    let number = std::env::var("DATASTORAGE_ATTACKS").map_or(ATTACKS, |number| number.parse().unwrap());
    let copy = format!("{}_copy", history.servers.database);
    for seed in 1..=number {
        let mut random = Random::new(seed);
        let (name, base, sql) = history.attack(&mut random);
        history.servers.copy_database(&base, &copy);
        history
            .servers
            .sql_in(&copy, &format!("SET session_replication_role = replica; {sql}"));
        let (code, output) = history.verify(&copy);
        assert_eq!(code, Some(1), "seed {seed}, {name}: not found: {output}\n{sql}");
        assert!(
            output.contains("does not verify"),
            "seed {seed}, {name}: {output}"
        );
    }
}
