//! An invalid part of a spec.

use crate::api::Reason;

/// Something in a spec that cannot be run, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// One CamelCase word.
    pub reason: Reason,
    /// A sentence for the user.
    pub message: String,
}

impl Invalid {
    pub(super) fn spec(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidSpec,
            message: message.into(),
        }
    }
}
