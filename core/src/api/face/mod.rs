//! How the objects of front ends look to users: their schemas, rules and columns. What they mean is in `front_ends`.

mod canary_app;
mod canary_deployment;

use serde_json::Value;

pub use self::{
    canary_app::CanaryAppSpec,
    canary_deployment::{CanaryDeploymentSpec, CanaryDeploymentTracks},
};
use super::KanaryKind;

/// The look of one front end.
pub(super) struct Face {
    /// One sentence for `kubectl explain`.
    pub(super) description: &'static str,
    /// The schema of the spec.
    pub(super) spec: fn() -> Value,
    /// Schemas of the fields of the status that no other kind has, by name.
    pub(super) status: fn() -> Value,
    /// Printer columns before the age.
    pub(super) columns: &'static [Column],
    /// CEL rules of the whole object, with their messages.
    pub(super) rules: &'static [(&'static str, &'static str)],
}

/// A printer column: its name, the type of its values and where they are.
pub(super) type Column = (&'static str, &'static str, &'static str);

/// The look of a front end. `None` for the kinds with the spec of a Kanary.
pub(super) const fn of(kind: KanaryKind) -> Option<Face> {
    match kind {
        KanaryKind::Deployment | KanaryKind::Statefulset | KanaryKind::OldDeployment | KanaryKind::Daemonset => None,
        KanaryKind::CanaryApp => Some(canary_app::FACE),
        KanaryKind::CanaryDeployment => Some(canary_deployment::FACE),
    }
}
