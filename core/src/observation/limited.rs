//! Limits on canaries, as far as a decision needs them.

use jiff::Timestamp;

use crate::api::InLine;

/// Limits on the number of canaries that run at the same time, and where the Kanary's request stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// The limit for all namespaces together.
    pub total: Option<u32>,
    /// The limit for each namespace.
    pub per_namespace: Option<u32>,
    /// The request of this Kanary that was granted: its [`RunPlace::requested_at`](crate::api::RunPlace::requested_at).
    pub granted: Option<Timestamp>,
    /// Place of the current request in the line, if it is known.
    pub line: Option<InLine>,
}
