//! HTTP: paths in, bodies out.

mod access;
mod answer;
mod faults;
pub mod json;
mod request;
mod resource;
mod route;
mod server;
mod service;

pub use server::{Listener, Options, write_kubeconfig};
