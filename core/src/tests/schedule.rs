//! `spec.schedule`: nothing is created before this time.

use expect_test::expect;

use super::check;

#[test]
fn nothing_is_created_before_the_schedule() {
    check(
        "
        spec: {schedule: +1h}
        now: +0s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic none
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_schedule_says_since_when_it_holds_the_run_only_once() {
    check(
        "
        spec: {schedule: +1h}
        status: {conditions: {Scheduled: 'True WaitingForSchedule: x'}, phase: ''}
        now: +10m
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True WaitingForSchedule: nothing is created before +1h0m0s (since +0s)
            Reconciling=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic none
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn at_the_schedule_the_canary_is_created() {
    check(
        "
        spec: {schedule: +1h}
        now: +1h
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_schedule_in_the_past_means_at_once() {
    check(
        "
        spec: {schedule: -1h}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn an_empty_schedule_means_at_once() {
    check(
        "
        spec: {schedule: ''}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_schedule_with_an_offset_is_a_moment_not_a_local_time() {
    check(
        "
        spec: {schedule: '2026-01-01T14:00:00+02:00'}
        now: +0s
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_schedule_that_is_no_time_is_refused_with_an_example() {
    check(
        "
        spec: {schedule: tomorrow}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.schedule `tomorrow` is not an RFC 3339 time with a time zone: write it like -50151h18m0s
        "#]],
    );
}

#[test]
fn a_schedule_without_a_time_zone_is_refused() {
    check(
        "
        spec: {schedule: '2026-01-01T12:00:00'}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.schedule `2026-01-01T12:00:00` is not an RFC 3339 time with a time zone: write it like -50151h18m0s
        "#]],
    );
}

#[test]
fn a_schedule_does_not_eat_into_the_validation_period() {
    check(
        "
        spec: {schedule: +1h, validation: {validationPeriod: 10m}}
        seen: {canary: {created: +1h, available: +1h5m}}
        now: +1h5m
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/10m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h15m0s
            currentTraffic none, initialDelay 0s, validationPeriod 10m0s, startTime +1h0m0s, availableAt +1h5m0s, validationStartTime +1h5m0s, deadline +1h15m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn a_missing_target_is_not_created_before_the_schedule() {
    check(
        "
        spec: {schedule: +1h}
        seen: {target: null}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic none
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_verdict_against_the_run_does_not_wait_for_the_schedule() {
    check(
        "
        spec: {schedule: +1h, verdict: invalid}
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, verdicts {"present":{"verdict":"invalid"}}, completedAt +0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_verdict_for_the_run_waits_for_the_schedule() {
    check(
        "
        spec: {schedule: +1h, verdict: valid}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic none, verdicts {"present":{"verdict":"valid"}}
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_missing_service_is_no_news_before_the_schedule() {
    check(
        "
        spec: {schedule: +1h, serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: null}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic service myapp-svc
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_waiting_run_with_three_objects_says_nothing_so_that_it_stays_within_seven_writes() {
    check(
        "
        spec: {schedule: +1h, serviceName: myapp-svc, traffic: {source: both}, scale: {hpa: {maxReplicas: 3}}}
        ",
        expect![[r#"
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn after_the_schedule_the_run_says_no_more_than_its_seven_writes_allow() {
    check(
        "
        spec: {schedule: +1h, serviceName: myapp-svc, traffic: {source: both}, validation: {initialDelay: 1m}}
        status: {currentHash: '<this>', conditions: {Scheduled: 'True WaitingForSchedule: x'}}
        seen: {canary: {created: +1h, available: +1h}}
        now: +1h1s
        ",
        expect![[r#"
            create Service myapp-svc-kanary-batman
            wake at +1h1m0s
        "#]],
    );
}
