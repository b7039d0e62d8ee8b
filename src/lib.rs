//! Kanary.
pub mod api;
pub mod canary;
pub mod prometheus;
