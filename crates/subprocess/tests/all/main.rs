//! Real programs run, failed, ended and found again.

#![cfg(test)]

mod busy;
mod common;
mod pipeline;
mod record;
mod run;
mod watch;
