//! A Kubernetes cluster in memory: an API server, its controllers and a Prometheus server, for the demo and the tests.
//!
//! The reference is a real kube-apiserver: any difference in behaviour is a bug here.

#![allow(
    clippy::indexing_slicing,
    reason = "JSON is indexed by field name, and a missing field reads as null"
)]

pub mod admission;
mod admit;
mod builtin;
pub mod clock;
pub mod cluster;
pub mod controllers;
mod custom;
pub mod discovery;
pub mod failure;
pub mod gateway;
pub mod metrics_apis;
pub mod names;
pub mod network;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod prometheus;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod server;
pub mod stack;
pub mod store;
pub mod table;
pub mod write;
