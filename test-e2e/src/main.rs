//! The end-to-end scenarios: given only URLs, they run against any deployment.

fn main() {}
