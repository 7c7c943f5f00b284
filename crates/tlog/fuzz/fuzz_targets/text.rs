//! The parsers panic on no bytes, and what they accept prints the same.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use tlog::{Bundle, Checkpoint, Frontier, Note, Proof, Tile, VerifierKey};

fn prints_the_same<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(tree) = Frontier::from_bytes(data) {
        assert_eq!(tree.to_bytes(), data);
    }
    if let Ok(bundle) = Bundle::new(0, data.first().copied().unwrap_or(0).into())
        && let Ok(entries) = bundle.entries(&data[1..])
    {
        assert_eq!(Bundle::encode(entries).ok().as_deref(), Some(&data[1..]));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        prints_the_same::<Tile>(text);
        prints_the_same::<Bundle>(text);
        prints_the_same::<VerifierKey>(text);
        prints_the_same::<Note>(text);
        prints_the_same::<Checkpoint>(text);
        prints_the_same::<Proof>(text);
    }
});
