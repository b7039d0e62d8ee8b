//! Conditions show the current state, not an outdated one.

use super::input;
use crate::{
    api::KanaryStatus,
    decide,
    status::{find, traffic_lost_since},
};

fn next(yaml: &str) -> KanaryStatus {
    let input = input::read(yaml);
    decide(&input.kanary, &input.seen, input.now).status.unwrap()
}

#[test]
fn what_a_run_waits_for_is_what_is_in_the_way_now() {
    for (spec, status) in [
        (
            "{scale: {static: {replicas: 0}}}",
            "{conditions: {Scheduled: 'True Activating: x'}}",
        ),
        (
            "{rollout: {onTargetMissing: wait}}",
            "{conditions: {Scheduled: 'True WaitingForTarget: x'}}",
        ),
    ] {
        let status = next(&format!(
            "{{spec: {spec}, status: {status}, seen: {{target: null}}, now: +1m}}"
        ));
        let [scheduled, stalled] = ["Scheduled", "Stalled"].map(|condition| find(&status, condition).unwrap());
        let resolved = format!("the canary is not judged before this is resolved: {}", stalled.message);
        assert_eq!(
            (&scheduled.reason, &scheduled.message),
            (&stalled.reason, &resolved),
            "{spec}"
        );
    }
}

#[test]
fn a_run_that_passed_and_failed_says_what_its_verdict_was() {
    for (verdict, was) in [
        ("AllItemsGood", "every validation item was good at the deadline"),
        ("ManualValid", "a manual item was valid and every other item agreed"),
        ("VerdictValid", "spec.verdict was valid"),
    ] {
        let conditions = format!("{{Running: 'False {verdict}: x', Succeeded: 'True {verdict}: x'}}");
        let status = next(&format!(
            "{{spec: {{verdict: invalid}}, status: {{phase: Succeeded, conditions: {conditions}}}, now: +1m}}"
        ));
        let running = find(&status, "Running").unwrap();
        assert_eq!(
            (running.status.as_str(), running.reason.as_str()),
            ("False", "RunFailed"),
            "{verdict}"
        );
        let expected = format!("{was}, and the run failed afterwards: the condition Failed says why");
        assert_eq!(running.message, expected);
    }
}

#[test]
fn a_canary_that_gets_no_traffic_because_none_was_asked_for_has_not_lost_any() {
    // `TrafficSet` is from an earlier version.
    for (reason, is_lost) in [
        ("TrafficLost", true),
        ("NoTrafficRequested", false),
        ("TrafficSet", false),
    ] {
        let input = input::read(&format!("{{status: {{conditions: {{Traffic: 'False {reason}: x'}}}}}}"));
        assert_eq!(traffic_lost_since(&input.kanary.status).is_some(), is_lost, "{reason}");
    }
}

#[test]
fn pods_are_counted_as_people_count_them() {
    for (pods, expected) in [
        ("", "it has no pods"),
        ("{name: a, ready: false}", "its pod is not ready"),
        ("{name: a}", "its pod is ready and not available yet"),
        (
            "{name: a}, {name: b, ready: false}, {name: c, ready: false}",
            "1 of its 3 pods is ready",
        ),
        (
            "{name: a, ready: false}, {name: b, ready: false}",
            "0 of its 2 pods are ready",
        ),
    ] {
        let status = next(&format!(
            "{{seen: {{canary: {{created: +0s}}, pods: [{pods}]}}, now: +10m}}"
        ));
        let failed = &find(&status, "Failed").unwrap().message;
        assert!(failed.contains(&format!(": {expected}; to try again")), "{failed}");
    }
}
