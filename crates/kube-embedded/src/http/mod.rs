//! HTTP: paths in, bodies out.

mod answer;
pub mod json;
mod route;
mod server;
mod service;

pub(crate) use answer::Include;
pub use server::{Listener, Options, write_kubeconfig};
