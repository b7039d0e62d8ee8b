//! The API of Kanary, and the pure function that decides what happens to a canary: [`decide()`], from what was seen to what is
//! to be done.
//!
//! No async, no client, no clock, no randomness, no logging. The crate depends on none of them, so the compiler holds it to that.

pub mod activate;
mod adopt;
pub mod api;
mod availability;
pub mod bootstrap;
pub mod carried;
mod counted;
pub mod decide;
pub mod decision;
mod deletion;
pub mod hash;
pub mod health;
mod held;
mod integrity;
pub mod kanary;
mod key;
pub mod labels;
mod leave;
mod leftovers;
mod named;
pub mod observation;
pub mod ownership;
mod parse;
pub mod patience;
mod pause;
mod promotion;
mod rollback;
pub mod rollout;
pub mod run;
pub mod scale;
mod services;
pub mod status;
#[cfg(test)]
mod tests;
mod times;
mod too_late;
pub mod traffic;
pub mod validation;
pub mod words;

pub use counted::counted;
pub use decide::decide;
pub use kanary::Canary;
pub use key::Key;
