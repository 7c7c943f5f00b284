//! Observation of a thread's children.

use std::sync::{Arc, Mutex};

use crate::common::helper;
use subprocess::{Cancel, Usage, Watch, watch_children};

#[derive(Default)]
struct Seen(Mutex<Vec<(u32, Option<Usage>)>>);

impl Watch for Seen {
    fn started(&self, pid: u32) {
        self.0.lock().unwrap().push((pid, None));
    }

    fn ended(&self, pid: u32, usage: Usage) {
        self.0.lock().unwrap().push((pid, Some(usage)));
    }
}

#[test]
fn memory_and_cpu_of_a_child_are_reported_before_its_wait_returns() {
    let seen = Arc::new(Seen::default());
    let watching = watch_children(seen.clone());
    helper(&["eat", "64"]).run(&Cancel::never()).unwrap();
    helper(&["eat", "1"]).capture(&Cancel::never()).unwrap();
    drop(watching);
    helper(&["eat", "1"]).run(&Cancel::never()).unwrap();

    let seen = seen.0.lock().unwrap();
    let [
        (one, None),
        (one_ended, Some(much)),
        (other, None),
        (other_ended, Some(little)),
    ] = seen[..]
    else {
        panic!("expected two children, each with its start and its end: {seen:?}");
    };
    assert_eq!((one, other), (one_ended, other_ended));
    let mebibyte = 1 << 20;
    assert!(
        (64 * mebibyte..128 * mebibyte).contains(&much.peak_bytes),
        "{much:?}"
    );
    assert!(little.peak_bytes < 32 * mebibyte, "{little:?}");
    assert!(much.cpu > little.cpu, "{much:?} {little:?}");
}
