//! The reconcile of one Kanary: read, decide, write; and the state between reconciles.

pub mod act;
pub mod check;
mod endpoints;
pub mod events;
mod kept;
pub mod measure;
pub mod memory;
pub mod observe;
mod routes;
pub mod traced;
pub mod turn;
