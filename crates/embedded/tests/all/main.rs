//! Real servers: start, use, stop, kill, fetch, and removal of abandoned ones.

#![cfg(test)]

mod common;
mod fetched;
mod kubernetes;
mod owners;
mod postgres;
mod redis;
