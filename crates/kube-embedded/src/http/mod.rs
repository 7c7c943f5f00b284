//! HTTP: paths in, bodies out.

mod access;
mod faults;
mod list;
mod metrics;
mod request;
mod resource;
mod response;
mod route;
mod server;
mod service;

pub use server::{Listener, Options, write_kubeconfig};
