//! Every Event has a reason that is listed in the API reference.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::json;

use crate::{
    api::{EventReason, KanaryStatus, Reason},
    health,
    status::{self, STALLED, notices},
};

/// The reasons in a table of the reference.
fn documented_under(heading: &str) -> BTreeSet<String> {
    let reference = include_str!("../../../docs/api.md");
    let (_, section) = reference.split_once(heading).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let reasons = rows.flat_map(|cell| cell.split(", ").map(|reason| reason.trim_matches('`').to_owned()));
    reasons.collect()
}

fn documented() -> BTreeSet<String> {
    documented_under("\n### Events\n")
}

#[test]
fn the_reference_lists_every_condition_reason_and_no_other() {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
    assert_eq!(documented_under("\n### Condition reasons\n"), reasons.collect());
}

/// Whether the reference lists the Events of a status.
pub(super) fn are_documented(status: &KanaryStatus) {
    let documented = documented();
    for notice in notices(status) {
        assert!(
            documented.contains(notice.reason.as_str()),
            "docs/api.md does not list the Event {}",
            notice.reason
        );
    }
}

fn announced(type_: &str, reason: Reason) -> Vec<String> {
    let condition = Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: reason.as_str().to_owned(),
        message: String::new(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    };
    let status = KanaryStatus {
        conditions: vec![condition],
        ..KanaryStatus::default()
    };
    let notices = notices(&status).into_iter();
    notices.map(|notice| notice.reason.as_str().to_owned()).collect()
}

#[test]
fn the_reference_lists_the_reason_of_every_event_and_no_other() {
    let states = [
        status::SCHEDULED,
        status::ACTIVATED,
        status::TRAFFIC,
        status::RUNNING,
        status::SUCCEEDED,
        status::FAILED,
        status::DEPLOYMENT_UPDATED,
        status::ROLLED_BACK,
        status::ERRORED,
        status::VERDICT_IGNORED,
        status::RECONCILING,
    ];
    let stalls = [
        Reason::NoData,
        Reason::Inconclusive,
        Reason::TargetPaused,
        Reason::TargetOnDelete,
        Reason::TargetPartitioned,
        Reason::TargetNotAvailable,
    ];
    let causes = health::CAUSES.iter().map(|(cause, _)| *cause);
    let of_states = states.into_iter().flat_map(|state| announced(state, Reason::DryRun));
    let of_stalls = stalls
        .into_iter()
        .chain(causes)
        .flat_map(|reason| announced(STALLED, reason));
    let too_late = announced(status::ACTIVATED, Reason::VerdictTooLate);
    let shifted = KanaryStatus {
        traffic: serde_json::from_value(json!({
            "route": {"kind": "HTTPRoute", "name": "shop"}, "step": 1, "weight": 5, "since": "2026-01-01T00:00:00Z",
        }))
        .unwrap(),
        ..KanaryStatus::default()
    };
    let shifted = notices(&shifted)
        .into_iter()
        .map(|notice| notice.reason.as_str().to_owned());
    let of_tracks = [
        EventReason::CreatedDeployment,
        EventReason::UpdatedDeployment,
        EventReason::DelayMetricsCheck,
        EventReason::MetricsCheckResult,
        EventReason::MetricsCheckUnsuccessful,
        EventReason::DoneProcessing,
    ];
    let of_tracks = of_tracks.into_iter().map(|reason| reason.as_str().to_owned());
    let all = of_states
        .chain(of_tracks)
        .chain(of_stalls)
        .chain(too_late)
        .chain(shifted);
    assert_eq!(documented(), all.collect());
}
