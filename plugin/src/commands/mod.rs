//! One module for each command.

pub(crate) mod explain;
pub(crate) mod get;
pub(crate) mod shards;
pub(crate) mod status;
pub(crate) mod steer;
pub(crate) mod verdict;
