//! One module for each command.

pub(crate) mod convert;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod get;
pub(crate) mod lint;
pub(crate) mod migrate;
pub(crate) mod shards;
pub(crate) mod status;
pub(crate) mod steer;
pub(crate) mod verdict;
