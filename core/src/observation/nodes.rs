//! What is observed of the nodes of a target that is a DaemonSet.

/// The nodes of a target, as far as the spec asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodesFound {
    /// These. A node may occur more than once.
    Found(Vec<Candidate>),
    /// Kanary may not read them, and why.
    Forbidden(String),
}

/// A node on which the target has, or is about to have, a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// Whether the target's pod on it is ready.
    pub ready: bool,
}
