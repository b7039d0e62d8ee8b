//! One process that answers for all pods of a cluster, by HTTP/1, HTTP/2 without TLS, and gRPC.
//!
//! Annotations of a pod change what it does:
//!
//! | annotation | meaning | default |
//! |---|---|---|
//! | `kanary.test/backend: none` | nobody answers for this pod | |
//! | `kanary.test/linger` | for how many seconds a deleted pod takes new connections | 5 |
//! | `kanary.test/error-rate` | share of the requests that are answered with status 500, from 0 to 1 | 0 |
//! | `kanary.test/delay` | seconds before each answer | 0 |
//!
//! Requests to `/nothello` are answered with status 500.

mod counters;
mod pod;
mod pods;
mod server;

pub use counters::Counters;
pub use pod::{Behaviour, Identity};
pub use pods::serve_all;
pub(crate) use server::{EMPTY_MESSAGE, GRPC, GRPC_STATUS};
pub use server::{Server, serve_metrics};
