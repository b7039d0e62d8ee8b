//! Ownership of Kanaries: slots, shards, sessions, and the fence that every write passes.
//!
//! A Kanary belongs to one of 256 *slots*, by the name of its target. The slot is stored in a label. A *shard* is a range of
//! slots. Each replica has one *session*, a Lease that it renews. Each shard has a Lease that names the session that owns it and
//! an *epoch* that increases whenever the owner changes. A replica that cannot renew its session stops before other replicas may
//! take its shards. `table`, `plan` and `assign` are pure; `member`, `step` and `session` execute the plan.

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
