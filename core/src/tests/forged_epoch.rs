//! A status with an epoch that no replica can have had.

use jiff::SignedDuration;
use serde_json::json;

use super::input::{parse, t0};
use crate::{decide::disown, status::find};

#[test]
fn a_forged_epoch_is_reported_once_and_changes_nothing_of_the_run() {
    let now = t0();
    let epoch = now.as_second() + 1_000_000;
    let status = json!({"epoch": epoch, "run": 3, "report": {"status": "Running"}, "conditions": [
        {"type": "Running", "status": "True", "reason": "r", "message": "m",
            "lastTransitionTime": now.to_string(), "observedGeneration": 1},
    ]});
    let canary = parse(&json!({}), Some(status), &json!(null));
    assert!(canary.has_forged_epoch(now));
    let status = disown(&canary, now).unwrap();
    for name in ["Errored", "Stalled"] {
        let condition = find(&status, name).unwrap();
        assert_eq!(
            (&*condition.status, &*condition.reason),
            ("True", "EpochForged"),
            "{name}"
        );
        assert!(condition.message.contains(&epoch.to_string()), "{}", condition.message);
        assert!(
            condition.message.contains("delete it and create it again"),
            "{}",
            condition.message
        );
    }
    assert_eq!(status.epoch, Some(epoch), "the API server takes no lower one");
    assert_eq!(status.run, Some(3));
    assert_eq!(
        find(&status, "Running").unwrap().status,
        "True",
        "the verdict is left open"
    );
    let status = serde_json::to_value(status).unwrap();
    let again = parse(&json!({}), Some(status), &json!(null));
    assert_eq!(disown(&again, now + SignedDuration::from_mins(5)), None);
}

#[test]
fn an_epoch_counts_as_forged_only_when_it_is_later_than_clocks_differ() {
    let now = t0();
    let canary = |after: i64| {
        parse(
            &json!({}),
            Some(json!({"epoch": now.as_second() + after})),
            &json!(null),
        )
    };
    for after in [-1_000_000, 0, 60] {
        assert!(!canary(after).has_forged_epoch(now), "{after}");
    }
    assert!(canary(61).has_forged_epoch(now));
    assert!(!parse(&json!({}), None, &json!(null)).has_forged_epoch(now));
}
