//! x02, x06, x07, x08 and the catalogue: what the last screen of a failed run says.

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    Vec::new()
}
