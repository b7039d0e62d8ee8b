//! A Kubernetes cluster in memory: an API server with its controllers and a Prometheus, for `kanary demo` and for tests.
//!
//! It keeps no promise of its own: where it differs from a real kube-apiserver, it is wrong.

pub mod failure;
pub mod schema;
