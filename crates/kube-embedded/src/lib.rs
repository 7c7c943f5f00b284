//! An embedded Kubernetes API server for tests.
//!
//! The modules, from the inside out: [`store`] keeps objects and versions, [`schema`] and [`patch`] implement shapes,
//! [`resources`] has what is served, [`api`] executes requests, [`auth`] authorizes them, [`http`] serves them.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kube_embedded::{api, http::{Listener, Options}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let api = Arc::new(api::Api::new(&api::Options::default())?);
//! let options = Options { listen: ([127, 0, 0, 1], 0).into(), kubeconfig: None };
//! let listener = Listener::bind(&options, api).await?;
//! println!("http://{}", listener.address());
//! listener.run(async { /* until the test ends */ }).await?;
//! # Ok(()) }
//! ```

pub mod api;
pub mod auth;
pub mod discovery;
pub mod faults;
pub mod http;
pub mod json;
pub mod jsonpath;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod status;
pub mod store;
pub mod table;
