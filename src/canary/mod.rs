//! The pure core: from what was seen to what will be done. No async, no client, no clock, no randomness, no logging.

pub mod activate;
mod adopt;
mod availability;
pub mod bootstrap;
#[allow(clippy::module_inception, reason = "the parsed Kanary is what this module is about")]
pub mod canary;
pub mod carried;
mod counted;
pub mod decide;
pub mod decision;
mod deletion;
pub mod hash;
pub mod health;
mod held;
mod integrity;
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

pub use canary::Canary;
pub use counted::counted;
pub use decide::decide;
pub use key::Key;
