//! Defaulting and validation of the built-in kinds.

mod check;
mod defaults;
mod events;

pub(crate) use check::check;
pub(crate) use defaults::default;
pub(crate) use events::{from_core, to_core};
