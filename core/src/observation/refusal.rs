//! Writes that the API server refused.

use jiff::Timestamp;

use crate::api::Reason;

/// A write that the API server refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// A CamelCase word.
    pub reason: Reason,
    /// The write, and the API server's message.
    pub message: String,
    /// When to retry.
    pub retry_at: Timestamp,
    /// Since when objects of the run cannot be created, or `None` for another kind of write.
    pub uncreated_since: Option<Timestamp>,
    /// The object of the write: `Deployment/myapp`.
    pub about: String,
}
