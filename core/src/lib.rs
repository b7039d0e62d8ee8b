//! The API of Kanary, and the pure function [`decide()`] that determines the actions for a canary from the observed
//! cluster.
//!
//! There is no async, no client, no clock, no randomness and no logging. The crate has no dependency that provides them,
//! so the compiler enforces this.

mod activate;
mod activation;
mod adopt;
mod analysis;
pub mod api;
mod availability;
mod bootstrap;
pub mod carried;
pub mod convert;
mod counted;
pub mod decide;
pub mod decision;
mod deletion;
mod ending;
mod front_ends;
pub mod hash;
pub mod health;
mod held;
pub mod in_place;
mod integrity;
mod invalid;
pub mod kanary;
mod key;
pub mod labels;
mod leave;
mod leftovers;
mod manual_verdicts;
mod named;
pub mod nodes;
mod objection;
pub mod observation;
mod overdue;
pub mod ownership;
mod parse;
mod patience;
mod pause;
mod phase;
mod place;
mod placement;
mod problem;
mod promotion;
mod restoring;
mod revert;
mod rollback;
mod rollout;
pub mod route;
pub mod routing;
mod run;
mod scale;
mod services;
mod shifting;
pub mod spec;
pub mod status;
mod step;
pub mod template;
#[cfg(test)]
mod tests;
mod times;
mod too_late;
pub mod trace;
pub mod track;
mod tracks;
pub mod traffic;
mod upkeep;
mod validating;
pub mod validation;
pub mod workload;

pub use counted::counted;
pub use decide::decide;
pub use front_ends::in_words_of;
pub use kanary::ParsedKanary;
pub use key::Key;
