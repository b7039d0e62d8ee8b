//! The API server's refusals, which clients receive as `Status` objects.

use serde_json::{Value, json};

/// A refusal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// `NotFound`, `Conflict`, … as in `metav1.StatusReason`.
    pub reason: &'static str,
    /// Message for users.
    pub message: String,
    /// `details` of the Status, or null.
    pub details: Value,
}

/// A problem with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, … as in `field.ErrorType`.
    pub reason: &'static str,
    /// Message for users, without the field: `Invalid value: "x": must be …`.
    pub message: String,
    /// `spec.template.metadata.labels`.
    pub field: String,
}

impl Failure {
    /// A refusal without details.
    #[must_use]
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: Value::Null,
        }
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 403 for an object. `resource` is like `deployments.apps`.
    #[must_use]
    pub fn forbidden(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("{resource} \"{name}\" is forbidden: {why}");
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// 404. `resource` is like `deployments.apps`.
    #[must_use]
    pub fn not_found(resource: &str, name: &str) -> Self {
        let failure = Self::new(404, "NotFound", format!("{resource} \"{name}\" not found"));
        failure.about(resource, name)
    }

    /// 409 for a create.
    #[must_use]
    pub fn already_exists(resource: &str, name: &str) -> Self {
        let failure = Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"));
        failure.about(resource, name)
    }

    /// 409 for a write that is based on an outdated version.
    #[must_use]
    pub fn conflict(resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 422. `kind` is like `Deployment.apps`.
    #[must_use]
    pub fn invalid(kind: &str, name: &str, causes: &[Cause]) -> Self {
        let lines: Vec<_> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let listed = match &lines[..] {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<_> = causes
            .iter()
            .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
            .collect();
        let mut failure = Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {listed}"));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        failure.details = json!({"name": name, "group": group, "kind": kind, "causes": causes});
        failure
    }

    /// 410 for a watch or a list from a version that is no longer available.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    fn about(mut self, resource: &str, name: &str) -> Self {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        self.details = json!({"name": name, "group": group, "kind": plural});
        self
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}
