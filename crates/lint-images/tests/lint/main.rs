//! The program as a person runs it: on trees made for the purpose, in git repositories, in each output's form.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test may fail the test"
)]

mod inputs;
mod outputs;
#[cfg(feature = "pre-commit")]
mod pre_commit;
mod tree;
mod verdicts;
