//! Expansion panics on no word, and its result is limited.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, bool)| {
    let (word, value, backtick) = input;
    let values = BTreeMap::from([("A".to_owned(), value.to_owned()), ("B".to_owned(), String::new())]);
    let escape = if backtick { '`' } else { '\\' };
    if let Ok(expanded) = dockerfile::expand(word, escape, &values) {
        assert!(expanded.text.len() <= 128 * 1024 + 2 * word.len());
    }
});
