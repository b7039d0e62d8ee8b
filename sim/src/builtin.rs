//! What a real API server fills in and refuses for the built-in kinds.

mod check;
mod defaults;
mod events;

pub(crate) use check::check;
pub(crate) use defaults::default;
pub(crate) use events::{from_core, to_core};
