//! The two ends of a real data plane: a backend that answers for every pod, and users who send requests.
//!
//! kwok simulates pods, which run no containers. The backend binds a socket to the address of each running pod, so a request to a
//! pod that is not there fails as it would on a cluster. `hack/dataplane` makes those addresses local.

pub mod backend;
pub mod load;
