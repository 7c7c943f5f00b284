//! The program on temporary git repositories, in each output format.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test may fail the test"
)]

mod baseline;
mod cases;
mod comparison;
mod findings;
mod inputs;
mod outputs;
#[cfg(feature = "pre-commit")]
mod pre_commit;
mod tree;
