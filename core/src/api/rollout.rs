//! `spec.rollout`: what happens after the verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GoDuration;

/// What happens after the verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// `auto` promotes a canary that passed; `dry-run` ends the run at `Succeeded` and leaves the target alone (as does
    /// `validation.noUpdate: true`). Default `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RolloutMode>,
    /// What becomes of a canary that failed: `delete` removes it, `retain` keeps it out of traffic for a look at it.
    /// Default `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// What happens when somebody changes the target's pod template while the canary runs: `fail` ends the run with
    /// reason `TargetChanged`, `promote` goes on and overwrites it. Default `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_target_change: Option<OnTargetChange>,
    /// What happens when the target does not exist when a run starts: `create` creates it from the template once it has been
    /// missing for `createTargetAfter`, `wait` waits until somebody else creates it. Default `create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_target_missing: Option<OnTargetMissing>,
    /// For how long the target must have been missing before it is created, so that a target whose manifest is applied a
    /// moment after the Kanary is not created from the template. A pause does not count. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_target_after: Option<GoDuration>,
    /// How long the canary may take to become available, and the target to roll out. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<GoDuration>,
    /// `true` puts the former template back if the promoted target does not become available in time, or a verdict against
    /// the canary comes before it has rolled out, unless somebody changed the target since. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_on_failure: Option<bool>,
}

/// Whether a canary that passed is promoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at RolloutSpec::mode; docs here would make the schema a oneOf"
)]
pub enum RolloutMode {
    Auto,
    DryRun,
}

/// What becomes of a canary that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at RolloutSpec::on_failure; docs here would make the schema a oneOf"
)]
pub enum OnFailure {
    Delete,
    Retain,
}

/// What happens when the target changes under a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at RolloutSpec::on_target_change; docs here would make the schema a oneOf"
)]
pub enum OnTargetChange {
    Fail,
    Promote,
}

/// What happens when there is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
#[allow(
    missing_docs,
    reason = "described at RolloutSpec::on_target_missing; docs here would make the schema a oneOf"
)]
pub enum OnTargetMissing {
    Create,
    Wait,
}
