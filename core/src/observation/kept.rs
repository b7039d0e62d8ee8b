//! What is known of the objects that a front end keeps beyond its runs.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;

/// The objects that a front end keeps beyond its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSeen {
    /// When they were read.
    pub at: Timestamp,
    /// Whether they were read for this decision.
    pub live: bool,
    /// `metadata.generation` of the Kanary for which they were read.
    pub generation: i64,
    /// What was found, by kind and name: `Service/shop`.
    pub objects: BTreeMap<String, KeptFound>,
}

/// An object, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum KeptFound {
    /// The object, without its managed fields.
    There(Arc<Value>),
    /// It does not exist.
    Missing,
    /// The cluster has no such kind.
    NoKind,
    /// The API server does not let the controller read it, and its message.
    Forbidden(String),
}
