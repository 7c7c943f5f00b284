//! Looks for bodies that take the most memory for each of their bytes: from the batch as text to its sealed events.

use allocation_counter::measure;
use serde_json::value::RawValue;

use super::tests::NOW;
use super::*;
use crate::domain::members::Elements;

/// Bound of the bytes held for each byte of a body: 40 batches at once stay within the memory of a small container.
const MAX_RATIO: f64 = 16.0;

/// Changes that are tried; the search goes on from the worst body so far. `DATASTORAGE_BODIES` sets another number.
const TRIES: usize = 60;

/// A small random source.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }
}

/// How bodies of a kind are made: the weight of each production, and sizes.
#[derive(Clone, Debug)]
struct Shape {
    /// Of null, 0, 1e300, 1e-300, "", a long text, an escape, {}, [], an object and an array.
    weights: [usize; 11],
    members: usize,
    key: usize,
    events: usize,
    data: usize,
    /// Fields of an event beside its data: none, those required, all.
    fields: usize,
}

impl Shape {
    fn change(&mut self, random: &mut Random) {
        match random.below(6) {
            0 | 1 => self.weights[random.below(11)] = random.below(9),
            2 => self.members = 1 + random.below(64),
            3 => self.key = random.below(9),
            4 => self.events = 1 << random.below(11),
            _ => (self.data, self.fields) = (1 << random.below(15), random.below(3)),
        }
    }

    fn body(&self, random: &mut Random) -> String {
        let required = r#""version":"1.0","event_type":"a.b","event_category":"gateway","event_action":"a","event_outcome":"success","correlation_id":"c","#;
        let all = r#""actor_type":"s","actor_id":"a","resource_type":"r","resource_id":"r","namespace":"n","cluster_name":"c","severity":"low","duration_ms":1,"error_code":"e","error_message":"m","retention_days":1,"#;
        let mut body = "[".to_owned();
        for index in 0..self.events.min(1_000) {
            if index > 0 {
                body.push(',');
            }
            body.push('{');
            if self.fields > 0 {
                body.push_str(required);
                body.push_str(r#""event_timestamp":"2027-01-15T08:00:00Z","#);
            }
            if self.fields > 1 {
                body.push_str(all);
            }
            body.push_str(r#""event_data":{"d":"#);
            let end = body.len() + self.data;
            self.value(&mut body, random, end, 0);
            body.push_str("}}");
            if body.len() > 256 << 10 {
                break;
            }
        }
        body.push(']');
        body
    }

    fn value(&self, body: &mut String, random: &mut Random, end: usize, depth: usize) {
        const LEAVES: [&str; 9] = [
            "null",
            "0",
            "1e300",
            "1e-300",
            r#""""#,
            "",
            r#""\u0001\u00e9\ud83d\ude00""#,
            "{}",
            "[]",
        ];
        let sum: usize = self.weights.iter().sum();
        let mut chosen = if sum == 0 { 0 } else { random.below(sum) };
        let production = self
            .weights
            .iter()
            .position(|weight| match chosen.checked_sub(*weight) {
                Some(rest) => {
                    chosen = rest;
                    false
                }
                None => true,
            });
        match production.unwrap_or(0) {
            5 => {
                body.push('"');
                body.extend(std::iter::repeat_n('x', 1 + random.below(200)));
                body.push('"');
            }
            leaf @ 0..=8 if depth > 0 || end <= body.len() => body.push_str(LEAVES[leaf]),
            9.. if depth > 12 => body.push('0'),
            production => {
                let is_object = production != 10;
                body.push(if is_object { '{' } else { '[' });
                let mut member = 0;
                while body.len() < end && (depth == 0 || member < self.members) {
                    if member > 0 {
                        body.push(',');
                    }
                    if is_object {
                        body.push_str(&format!("\"{member:0width$x}\":", width = self.key));
                    }
                    self.value(body, random, end, depth + 1);
                    member += 1;
                }
                body.push(if is_object { '}' } else { ']' });
            }
        }
    }
}

/// As the handler of batches reads them.
fn read(body: &str) -> usize {
    let Ok(value) = serde_json::from_str::<&RawValue>(body) else {
        panic!("not JSON: {body}");
    };
    let Ok(Elements { elements, .. }) = serde_json::from_str::<Elements<'_, 1_000>>(value.get()) else {
        return 0;
    };
    let events: Vec<Sealed> = elements
        .into_iter()
        .filter_map(|element| Event::read(element.get().as_bytes(), NOW, None).ok())
        .map(Sealed::new)
        .collect();
    events.len()
}

/// Bytes held at most for each byte of the body, which is counted itself; small bodies are not interesting.
fn ratio(body: &str) -> f64 {
    let held = measure(|| {
        std::hint::black_box(read(body));
    });
    (held.bytes_max as f64 + body.len() as f64) / (body.len() as f64).max(4_096.0)
}

#[test]
fn no_body_takes_sixteen_times_its_size() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut worst = Shape {
        weights: [1; 11],
        members: 4,
        key: 1,
        events: 16,
        data: 1_024,
        fields: 1,
    };
    let mut most = 0.0;
    let tries = std::env::var("DATASTORAGE_BODIES").map_or(TRIES, |number| number.parse().unwrap());
    for _ in 0..tries {
        let mut shape = worst.clone();
        for _ in 0..=random.below(3) {
            shape.change(&mut random);
        }
        let found = ratio(&shape.body(&mut random));
        assert!(found <= MAX_RATIO, "{found:.1} times its size: {shape:?}");
        if found >= most {
            (worst, most) = (shape, found);
        }
    }
    println!("at most {most:.1} times the size of a body: {worst:?}");
}
