//! Access to the cluster without any knowledge of Kanary: client, clock, errors and their classes.

pub mod calls;
pub mod client;
pub mod clock;
pub mod error;
pub mod version;
