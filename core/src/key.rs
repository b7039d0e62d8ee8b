//! Identity of a Kanary.

use std::fmt;

use crate::api::KanaryKind;

/// Identity of a Kanary: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Kind of the Kanary.
    pub kind: KanaryKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// The Kanary of a kind with this namespace and name.
    #[must_use]
    pub fn at(kind: KanaryKind, (namespace, name): (String, String)) -> Self {
        Self { kind, namespace, name }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}
