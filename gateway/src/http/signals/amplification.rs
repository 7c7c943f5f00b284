//! Looks for webhooks that take the most memory for each of their bytes: from the text to the response.

use std::fmt::Write as _;

use allocation_counter::measure;
use jiff::Timestamp;

use super::*;
use crate::domain::rules::Rules;

/// Bound of the bytes held for each byte of a body; small bodies are not interesting.
const MAX_RATIO: f64 = 16.0;
const SMALL: f64 = 4_096.0;

/// Changes that are tried; the search goes on from the worst body so far. `GATEWAY_BODIES` sets another number.
const TRIES: usize = 80;

/// How webhooks of a kind are made.
#[derive(Clone, Debug)]
struct Shape {
    alerts: usize,
    /// Own labels and annotations of an alert, and bytes of their texts.
    own: [usize; 2],
    own_text: usize,
    /// Common labels and annotations, and bytes of their texts.
    common: [usize; 2],
    common_text: usize,
    /// Bytes of names.
    name: usize,
    escaped: bool,
    named: bool,
    resolved: bool,
    other: usize,
}

impl Shape {
    fn change(&mut self, random: &mut fastrand::Rng) {
        let size = |random: &mut fastrand::Rng| {
            let bits = random.u32(0..12);
            random.usize(0..1 << bits)
        };
        match random.u32(0..10) {
            0 => self.alerts = 1 << random.u32(0..15),
            1 => self.own = [size(random), size(random)],
            2 => self.own_text = size(random),
            3 => self.common = [size(random), size(random)],
            4 => self.common_text = size(random),
            5 => self.name = 1 + random.usize(0..8),
            6 => self.escaped = random.bool(),
            7 => self.named = random.bool(),
            8 => self.resolved = random.bool(),
            _ => self.other = random.usize(0..4),
        }
    }

    fn texts(&self, body: &mut String, count: usize, text: usize) {
        body.push('{');
        for number in 0..count {
            let text = if self.escaped { r"\u0001" } else { "x" }.repeat(text);
            let _ = write!(
                body,
                "{}\"{number:0width$x}\":\"{text}\"",
                if number > 0 { "," } else { "" },
                width = self.name
            );
        }
        body.push('}');
    }

    fn body(&self) -> String {
        let mut body = r#"{"commonLabels":"#.to_owned();
        self.texts(&mut body, self.common[0], self.common_text);
        body.push_str(r#","commonAnnotations":"#);
        self.texts(&mut body, self.common[1], self.common_text);
        body.push_str(r#","alerts":["#);
        for number in 0..self.alerts {
            if number > 0 {
                body.push(',');
            }
            body.push('{');
            if self.resolved {
                body.push_str(r#""status":"resolved","#);
            }
            if self.named || self.own[0] > 0 {
                body.push_str(r#""labels":"#);
                let begin = body.len();
                self.texts(&mut body, self.own[0], self.own_text);
                if self.named {
                    let comma = if self.own[0] > 0 { "," } else { "" };
                    body.insert_str(begin + 1, &format!(r#""alertname":"{number}"{comma}"#));
                }
                body.push(',');
            }
            if self.own[1] > 0 {
                body.push_str(r#""annotations":"#);
                self.texts(&mut body, self.own[1], self.own_text);
                body.push(',');
            }
            body.push_str([r#""s":0"#, r#""status":7"#, r#""startsAt":{}"#, ""][self.other]);
            if body.ends_with(',') {
                body.pop();
            }
            body.push('}');
            if body.len() > 256 << 10 {
                break;
            }
        }
        body.push_str("]}");
        body
    }
}

/// As the handler reads a webhook, without the cluster: each alert fails there, which is the longest result.
fn respond(body: &str) -> usize {
    let now = Timestamp::UNIX_EPOCH;
    let Ok(reading) = alertmanager::read(body, true, now) else {
        return 0;
    };
    let rules = Rules::default();
    let mut entries = Entries::with_capacity(reading.count());
    for position in 0..reading.count() {
        entries.push(
            reading
                .judge(&rules, position)
                .map(|Read { signal, verdict, .. }| {
                    let fingerprint = signal.fingerprint();
                    if verdict == Verdict::Resolved {
                        return Entry::Left(Left::Resolved, Box::new(fingerprint));
                    }
                    let detail = "denied".to_owned();
                    let result = Err(crate::cluster::Error::Rejected { status: 403, detail });
                    Entry::taken(
                        Taken {
                            id: Uuid::nil(),
                            fingerprint,
                            result,
                        },
                        reading.count() == 1,
                    )
                }),
        );
    }
    drop(reading);
    match response::webhook(entries.entries) {
        Ok(response) => {
            let body = axum::body::to_bytes(response.into_body(), usize::MAX);
            futures::FutureExt::now_or_never(body).map_or(0, |body| body.unwrap_or_default().len())
        }
        Err(failure) => failure.problem.errors.len(),
    }
}

fn ratio(body: &str) -> f64 {
    let held = measure(|| {
        std::hint::black_box(respond(body));
    });
    (held.bytes_max as f64 + body.len() as f64) / (body.len() as f64).max(SMALL)
}

#[test]
fn no_webhook_takes_sixteen_times_its_size() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut worst = Shape {
        alerts: 100,
        own: [1, 1],
        own_text: 1,
        common: [1, 1],
        common_text: 1,
        name: 1,
        escaped: false,
        named: true,
        resolved: false,
        other: 0,
    };
    let mut most = 0.0;
    let tries = std::env::var("GATEWAY_BODIES").map_or(TRIES, |number| number.parse().unwrap());
    for number in 0..tries {
        let mut shape = worst.clone();
        // Now and then far from the worst one so far, which may be the worst of its neighbours only.
        let changes = if number % 5 == 0 { 12 } else { random.u32(1..4) };
        for _ in 0..changes {
            shape.change(&mut random);
        }
        let found = ratio(&shape.body());
        assert!(found <= MAX_RATIO, "{found:.1} times its size: {shape:?}");
        if found >= most {
            (worst, most) = (shape, found);
        }
    }
    println!("at most {most:.1} times the size of a body: {worst:?}");
}

#[test]
fn common_texts_are_not_multiplied_by_the_alerts() {
    let texts = format!(r#"{{"a":"{}"}}"#, "x".repeat(10_000));
    let body = format!(
        r#"{{"commonLabels":{texts},"commonAnnotations":{texts},"alerts":[{}{{}}]}}"#,
        "{},".repeat(16_000)
    );
    let held = measure(|| {
        std::hint::black_box(respond(&body));
    });
    assert!(held.bytes_max < 4 << 20, "{} bytes held", held.bytes_max);
}
