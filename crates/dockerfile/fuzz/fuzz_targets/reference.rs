//! The reference parser panics on no text, and the full form of a valid reference is valid and equal.
#![no_main]

use dockerfile::ImageReference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(image) = text.parse::<ImageReference>() {
        let printed = image.to_string();
        let again: ImageReference = printed.parse().expect("the full form is valid");
        assert_eq!(again.to_string(), printed);
    }
});
