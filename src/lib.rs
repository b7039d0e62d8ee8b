//! Kanary: canary deployments for Kubernetes, judged before they are promoted.
//!
//! A thin imperative shell (watching, queueing, measuring, writing) around one pure function, [`kanary_core::decide()`], which
//! maps observations to actions:
//!
//! ```text
//! watch ──> cache ──> queue ──> reconcile ──> observe ──> decide ──> act ──> API server
//!             ^                     |                        |        |
//!             |                     └── measure <── checks ──┘        |
//!             └───────────────────── replies <──────────────────────-─┘
//! ```

pub mod cache;
pub mod cluster;
pub mod controller;
mod json;
pub mod metrics;
pub mod metrics_apis;
pub mod places;
pub mod prometheus;
pub mod queue;
pub mod reconcile;
pub mod serve;
pub mod shard;
pub mod traces;
pub mod webhook;
