//! What the controller knows of the cluster without knowing Kanary: its client, the clock, and errors and their classes.

pub mod client;
pub mod clock;
pub mod error;
