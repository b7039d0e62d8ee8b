//! The API of Kanary, and the pure function [`decide()`] that determines the actions for a canary from the observed
//! cluster.
//!
//! There is no async, no client, no clock, no randomness and no logging. The crate has no dependency that provides them,
//! so the compiler enforces this.

pub mod activate;
pub mod activation;
mod adopt;
pub mod analysis;
pub mod api;
mod availability;
pub mod bootstrap;
pub mod carried;
mod counted;
pub mod decide;
pub mod decision;
mod deletion;
mod ending;
pub mod hash;
pub mod health;
mod held;
mod integrity;
pub mod invalid;
pub mod kanary;
mod key;
pub mod labels;
mod leave;
mod leftovers;
mod named;
mod objection;
pub mod observation;
mod overdue;
pub mod ownership;
mod parse;
pub mod patience;
mod pause;
pub mod problem;
mod promotion;
mod rollback;
pub mod rollout;
pub mod run;
pub mod scale;
mod services;
pub mod spec;
pub mod status;
pub mod step;
#[cfg(test)]
mod tests;
mod times;
mod too_late;
pub mod traffic;
mod validating;
pub mod validation;
pub mod words;

pub use counted::counted;
pub use decide::decide;
pub use kanary::ParsedKanary;
pub use key::Key;
