//! A query that a decision asks for.

use jiff::Timestamp;
use kanary_core::{Key, validation::promql::PromQl};

/// A query that is due.
#[derive(Clone, Debug)]
pub struct Check {
    /// Whose.
    pub key: Key,
    /// Of which run.
    pub run: String,
    /// Of which validation item.
    pub index: usize,
    /// The item.
    pub query: PromQl,
    /// The query's text, filled in.
    pub text: String,
    /// The text of the query for evidence, for an item that needs it.
    pub evidence: Option<String>,
    /// The canary's ready pods.
    pub pods: Vec<String>,
    /// The time it is asked for.
    pub at: Timestamp,
    /// uid of the canary.
    pub canary: String,
}
