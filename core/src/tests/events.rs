//! Every Event has a reason that is listed in the API reference.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    analysis::{INCONCLUSIVE, NO_DATA},
    api::KanaryStatus,
    health, rollback, rollout,
    status::{self, DRY_RUN, STALLED, notices},
};

/// The reasons in the table of the reference.
fn documented() -> BTreeSet<String> {
    let reference = include_str!("../../../docs/api.md");
    let (_, section) = reference.split_once("\n### Events\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let reasons = rows.flat_map(|cell| cell.split(", ").map(|reason| reason.trim_matches('`').to_owned()));
    reasons.collect()
}

/// Whether the reference lists all Events of a status.
pub(super) fn are_documented(status: &KanaryStatus) {
    let documented = documented();
    for notice in notices(status) {
        assert!(
            documented.contains(&notice.reason),
            "docs/api.md does not list the Event {}",
            notice.reason
        );
    }
}

fn said(type_: &str, reason: &str) -> Vec<String> {
    let condition = Condition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        observed_generation: None,
    };
    let status = KanaryStatus {
        conditions: vec![condition],
        ..KanaryStatus::default()
    };
    notices(&status).into_iter().map(|notice| notice.reason).collect()
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
    let stalls = [NO_DATA, INCONCLUSIVE, rollout::TARGET_PAUSED, rollback::NOT_AVAILABLE];
    let causes = health::CAUSES.iter().map(|(cause, _)| *cause);
    let of_states = states.into_iter().flat_map(|state| said(state, DRY_RUN));
    let of_stalls = stalls
        .into_iter()
        .chain(causes)
        .flat_map(|reason| said(STALLED, reason));
    let too_late = said(status::ACTIVATED, status::VERDICT_TOO_LATE);
    assert_eq!(documented(), of_states.chain(of_stalls).chain(too_late).collect());
}
