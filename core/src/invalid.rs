//! An invalid part of a spec.

/// An invalid part of a spec, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// A CamelCase word.
    pub reason: &'static str,
    /// A sentence for the user.
    pub message: String,
}

impl Invalid {
    pub(super) fn spec(message: impl Into<String>) -> Self {
        Self {
            reason: "InvalidSpec",
            message: message.into(),
        }
    }

    pub(super) fn unsupported(message: impl Into<String>) -> Self {
        Self {
            reason: "Unsupported",
            message: message.into(),
        }
    }
}
