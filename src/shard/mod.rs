//! Who acts on which Kanary: slots, shards, sessions, and the fence that every write passes.
//!
//! A Kanary has one of 256 *slots* by the name of its target, in a label. A *shard* is a range of slots. Each replica keeps
//! one *session*, a Lease that it renews; each shard has a Lease that names the session that owns it and an *epoch* that
//! grows whenever the owner changes. A replica that cannot renew its session stops by itself before others may take its
//! shards. `table`, `plan` and `assign` are pure; `member`, `step` and `session` do what they say.

pub mod assign;
pub mod fence;
pub mod label;
pub mod leader;
pub mod lease;
pub mod leases;
pub mod map;
pub mod member;
pub mod plan;
pub mod serve;
mod session;
mod sharding;
pub mod show;
mod step;
pub mod table;

pub use self::{
    fence::{Fence, Right},
    sharding::Sharding,
};
