//! Kanary: canary deployments for Kubernetes, judged before they are promoted.
//!
//! A thin imperative shell (watching, queueing, measuring, writing) around one pure function,
//! [`canary::decide()`], from what was seen to what will be done:
//!
//! ```text
//! watch ──> cache ──> queue ──> reconcile ──> observe ──> decide ──> act ──> API server
//!             ^                     |                        |        |
//!             |                     └── measure <── checks ──┘        |
//!             └───────────────────── replies <──────────────────────-─┘
//! ```

pub mod act;
pub mod admin;
pub mod api;
pub mod cache;
pub mod canary;
pub mod client;
pub mod clock;
pub mod controller;
pub mod error;
pub mod measure;
pub mod memory;
pub mod metrics;
pub mod observe;
pub mod prometheus;
pub mod queue;
pub mod reconcile;
pub mod shard;
pub mod watch;
