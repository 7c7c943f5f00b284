//! Real servers started, used, stopped, killed, fetched and found again.

#![cfg(test)]

mod common;
mod fetched;
mod kubernetes;
mod owners;
mod postgres;
mod redis;
