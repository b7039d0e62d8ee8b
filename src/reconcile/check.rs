//! A query requested by a decision.

use jiff::Timestamp;
use kanary_core::{Key, validation::promql::PromQl};

/// A query that is due.
#[derive(Clone, Debug)]
pub struct Check {
    /// The Kanary.
    pub key: Key,
    /// The run.
    pub run: String,
    /// Index of the validation item.
    pub index: usize,
    /// The item.
    pub query: PromQl,
    /// The query with its placeholders replaced.
    pub text: String,
    /// The evidence query, for an item that needs evidence.
    pub evidence: Option<String>,
    /// The canary's ready pods.
    pub pods: Vec<String>,
    /// The evaluation time.
    pub at: Timestamp,
    /// uid of the canary.
    pub canary: String,
}
