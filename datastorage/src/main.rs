//! The DataStorage service.

fn main() {}
