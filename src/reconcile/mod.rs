//! One turn for one Kanary: read, decide, write; and what turns need between them.

pub mod act;
pub mod check;
pub mod measure;
pub mod memory;
pub mod observe;
pub mod turn;
