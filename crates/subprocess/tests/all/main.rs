//! Real programs that run, fail, are ended and are found again.

#![cfg(test)]

mod busy;
mod common;
mod pipeline;
mod record;
mod run;
mod watch;
