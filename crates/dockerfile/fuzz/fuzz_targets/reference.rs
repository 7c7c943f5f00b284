//! No text makes the reference reader panic, and the full form of a valid one is valid and equal.
#![no_main]

use dockerfile::ImageReference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(image) = text.parse::<ImageReference>() {
        let printed = image.to_string();
        let again: ImageReference = printed.parse().expect("the full form is legal");
        assert_eq!(again.to_string(), printed);
    }
});
