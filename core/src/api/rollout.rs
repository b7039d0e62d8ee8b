//! `spec.rollout`: what happens after the verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GoDuration;

/// What happens after the verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// `auto` promotes a canary that passed. `dry-run` ends the run at `Succeeded` and does not change the target, like
    /// `validation.noUpdate: true`. Default `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<RolloutMode>,
    /// What happens to a canary that failed: `delete` removes it, `retain` keeps it for debugging but removes it from traffic.
    /// Default `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// What happens when the target's pod template changes while the canary runs: `fail` ends the run with reason
    /// `TargetChanged`, `promote` continues and overwrites the change. Default `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_target_change: Option<OnTargetChange>,
    /// What happens when the target does not exist when a run starts: `create` creates it from the template after it has been
    /// missing for `createTargetAfter`, `wait` waits until it is created. Default `create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_target_missing: Option<OnTargetMissing>,
    /// How long the target must be missing before Kanary creates it. The delay lets you apply the target's manifest shortly
    /// after the Kanary. Time during which the Kanary is paused does not count. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create_target_after: Option<GoDuration>,
    /// How long the canary may take to become available, and the target to roll out. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<GoDuration>,
    /// `true` restores the previous template if the promoted target does not become available in time, or if the canary fails
    /// before the target has rolled out. A target that was changed since the promotion is not rolled back. Default false.
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

/// What happens to a canary that failed.
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

/// What happens when the target changes during a run.
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
