//! Figures of the module page: `cargo test --release -p tlog --test speed -- --ignored --nocapture`.

use std::time::Instant;

use tlog::{Frontier, leaf_hash};

#[test]
#[ignore = "a measurement, of release builds only"]
fn appends_more_than_a_million_leaf_hashes_per_second() {
    let count: u32 = 5_000_000;
    let mut hash = leaf_hash(b"seed");
    let mut tree = Frontier::new();
    let start = Instant::now();
    for index in 0..count {
        hash[..4].copy_from_slice(&index.to_be_bytes());
        tree.push(hash).unwrap();
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{rate:.0} leaf hashes per second");
    assert!(rate > 1e6, "{rate:.0} leaf hashes per second");
}
