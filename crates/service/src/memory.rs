//! The memory that this process may use.

use std::fs;

/// Returns the memory limit of the process' container in bytes (cgroup v2 or v1); `None` without one.
#[must_use]
pub fn limit() -> Option<u64> {
    [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|file| parse(&fs::read_to_string(file).ok()?))
}

/// `max`, or a number near 2⁶³, is no limit.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_both_versions_are_parsed() {
        assert_eq!(parse("268435456\n"), Some(256 << 20));
        assert_eq!(parse("max\n"), None);
        assert_eq!(parse("9223372036854771712\n"), None);
    }
}
