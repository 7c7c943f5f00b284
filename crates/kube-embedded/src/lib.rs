//! An embedded Kubernetes API server for tests.
//!
//! The parts, from the inside out: [`store`] keeps objects and versions, [`schema`] and [`patch`] know shapes,
//! [`resources`] knows what is served, [`api`] does what a request asks, [`auth`] says who may, [`http`] speaks.

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
pub mod resources;
pub mod schema;
pub mod selector;
pub mod status;
pub mod store;
pub mod table;
