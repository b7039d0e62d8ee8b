//! Kanary.
pub mod api;
pub mod canary;
