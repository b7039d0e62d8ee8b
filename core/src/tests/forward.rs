//! Allowed changes of a status within a run.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::KanaryStatus,
    status::{Phase, traffic_lost_since},
};

/// Within a run phases only move forward, and stored times only move later: by the length of a pause, because of an
/// outage, or for a canary that was replaced or gets its traffic again.
pub(super) fn only_forward(former: &KanaryStatus, next: &KanaryStatus, now: Timestamp) {
    let is_known = former.current_hash.is_some();
    if former.run != next.run
        || former.run == Some(i64::MAX)
        || is_known && (former.current_hash != next.current_hash || former.retry != next.retry)
    {
        return;
    }
    let (from, to) = (Phase::of(former), Phase::of(next));
    let forward = match from {
        Phase::Failed | Phase::DeploymentUpdated => to == from,
        _ => to >= from || to == Phase::Failed,
    };
    assert!(forward, "{from:?} → {to:?}");
    let pause = match (former.paused_at, next.paused_at) {
        (Some(from), None) => now.duration_since(from).max(SignedDuration::ZERO),
        _ => SignedDuration::ZERO,
    };
    let moved = |time: Option<Timestamp>| time.map(|time| time.checked_add(pause).unwrap_or(time));
    let stays = |name: &str, former: Option<Timestamp>, next: Option<Timestamp>| {
        assert!(
            former.is_none() || former == next,
            "{name} moved from {former:?} to {next:?}"
        );
    };
    stays("startTime", former.start_time, next.start_time);
    let replaced = former.canary_uid != next.canary_uid;
    if !replaced {
        stays("availableAt", former.available_at, next.available_at);
    }
    if matches!(from, Phase::Failed | Phase::DeploymentUpdated) {
        stays("completedAt", former.completed_at, next.completed_at);
    }
    let period = |status: &KanaryStatus| status.validation_period.zip(status.initial_delay);
    if former.deadline.is_some() && period(former) != period(next) {
        return;
    }
    let traffic_is_back = traffic_lost_since(former).is_some() && traffic_lost_since(next).is_none();
    if replaced || traffic_is_back || former.available_since != next.available_since {
        assert!(
            next.deadline >= moved(former.deadline),
            "the deadline moved from {former:?} to {next:?}"
        );
        assert!(next.validation_start_time >= former.validation_start_time);
        return;
    }
    stays("deadline", moved(former.deadline), next.deadline);
    let started = former
        .validation_start_time
        .is_none_or(|start| former.paused_at.is_none_or(|paused| start <= paused));
    let start = if started {
        former.validation_start_time
    } else {
        moved(former.validation_start_time)
    };
    stays("validationStartTime", start, next.validation_start_time);
}
