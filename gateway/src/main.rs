//! The Gateway service.

fn main() {}
