//! Arbitrary statuses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;

use super::{
    arbitrary::{any_of, time},
    input::template,
};
use crate::{
    api::{
        GoDuration, ItemState, ItemStatus, KanaryStatus, ManualVerdict, ManualVerdicts, PlaceState, RunPlace, Verdicts,
    },
    hash,
};

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let kind = any_of(&[
        "Scheduled",
        "Activated",
        "Running",
        "Succeeded",
        "Failed",
        "DeploymentUpdated",
        "Errored",
        "RolledBack",
        "Reconciling",
        "Stalled",
        "''",
    ]);
    let reason = any_of(&[
        "WaitingForSchedule",
        "WaitingForPlace",
        "Paused",
        "TargetNotAvailable",
        "DryRun",
        "TargetCreated",
        "Pending",
        "CanaryGaveWay",
        "''",
    ]);
    let condition = (kind, any_of(&["'True'", "'False'"]), reason, time()).prop_map(|(kind, value, reason, at)| {
        let condition = json!({"type": kind, "status": value, "reason": reason, "message": "", "lastTransitionTime": at.to_string()});
        serde_json::from_value(condition).unwrap()
    });
    vec(condition, 0..6)
}

fn items() -> impl Strategy<Value = Vec<ItemStatus>> {
    let reasons = vec![
        None,
        Some("NoData"),
        Some("Inconclusive"),
        Some("QueryInvalid"),
        Some(""),
    ];
    let item = (
        0..3_u32,
        select(vec![ItemState::Good, ItemState::Inconclusive]),
        select(reasons),
    );
    let item = item.prop_map(|(bad, state, reason)| ItemStatus {
        name: "promQL[0]".to_owned(),
        bad,
        state,
        reason: reason.map(str::to_owned),
        ..ItemStatus::default()
    });
    vec(item, 0..3)
}

fn manual_verdicts() -> impl Strategy<Value = ManualVerdicts> {
    let verdict = select(vec![None, Some(ManualVerdict::Valid), Some(ManualVerdict::Invalid)]);
    (verdict, 0..3_u32, 0..3_u32).prop_map(|(verdict, valid, invalid)| ManualVerdicts {
        verdict,
        valid,
        invalid,
    })
}

fn place() -> impl Strategy<Value = RunPlace> {
    let state = select(vec![PlaceState::Waiting, PlaceState::Taken, PlaceState::Left]);
    (time(), state, option::of(time())).prop_map(|(at, state, blocked_at)| RunPlace {
        blocked_at,
        ..RunPlace::requested(at, state)
    })
}

/// A status. The hash `<this>` stands for the current template.
#[allow(clippy::too_many_lines, reason = "one field after the other")]
pub(super) fn status() -> BoxedStrategy<KanaryStatus> {
    let hashes = (
        select(vec![
            None,
            Some("<this>"),
            Some("<this>"),
            Some("<this>"),
            Some("other"),
            Some(""),
        ]),
        select(vec![None, Some("t1"), Some("t1"), Some("t2")]),
        select(vec![None, Some("t1"), Some("t2")]),
        vec(select(vec!["<this>", "a", "b"]), 0..24),
    );
    let numbers = (
        select(vec![None, Some(1)]),
        select(vec![None, Some(1), Some(2), Some(i64::MAX), Some(i64::MIN)]),
    );
    let times = (
        option::of((time(), time(), time())),
        option::of(time()),
        option::of(time()),
        option::of(time()),
        option::of(time()),
        option::of(time()),
    );
    let recorded = (
        select(vec![None, Some("none"), Some("service svc"), Some("other")]),
        option::of((manual_verdicts(), manual_verdicts())),
        option::of((0..9000_u64, 0..9000_u64)),
        option::of(place()),
    );
    (conditions(), hashes, numbers, times, items(), recorded)
        .prop_map(|(conditions, hashes, numbers, times, items, recorded)| {
            let (current, target, promoted, failed) = hashes;
            KanaryStatus {
                current_hash: current.map(str::to_owned),
                target_hash: target.map(|name| hash::of(&template(name))),
                promoted_hash: promoted.map(|name| hash::of(&template(name))),
                failed_templates: failed.into_iter().map(str::to_owned).collect(),
                retry: numbers.0,
                run: numbers.1,
                available_at: times.0.map(|times| times.0),
                available_since: times.5,
                unavailable_for: times.5.map(|_| GoDuration::from_secs(7)),
                canary_uid: times.5.map(|_| "uid".to_owned()),
                validation_start_time: times.0.map(|times| times.1),
                deadline: times.0.map(|times| times.2),
                start_time: times.1,
                paused_at: times.2,
                resumed_at: times.3,
                completed_at: times.4,
                current_traffic: recorded.0.map(str::to_owned),
                verdicts: recorded.1.map(|(present, stale)| Verdicts { present, stale }),
                initial_delay: recorded.2.map(|periods| GoDuration::from_secs(periods.0)),
                validation_period: recorded.2.map(|periods| GoDuration::from_secs(periods.1)),
                items,
                conditions,
                place: recorded.3,
                ..KanaryStatus::default()
            }
        })
        .boxed()
}
