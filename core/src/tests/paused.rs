//! `spec.paused`: the run is held in its current state.

use expect_test::expect;

use super::check;

#[test]
fn a_paused_kanary_creates_nothing() {
    check(
        "
        spec: {paused: true}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            currentTraffic none, startTime +0s, pausedAt +0s
        "#]],
    );
}

#[test]
fn a_kanary_that_a_migration_holds_says_so() {
    let mut input = super::input::read("spec: {paused: true}");
    std::sync::Arc::make_mut(&mut input.kanary.spec).migrating = true;
    let status = crate::decide(&input.kanary, &input.seen, input.now).status.unwrap();
    let why = &crate::status::find(&status, crate::status::RECONCILING)
        .unwrap()
        .message;
    assert!(why.starts_with("`kubectl kanary migrate` has not ended"), "{why}");
}

#[test]
fn a_paused_kanary_does_not_create_a_missing_target() {
    check(
        "
        spec: {paused: true}
        seen: {target: null}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            currentTraffic none, startTime +0s, pausedAt +0s
        "#]],
    );
}

#[test]
fn a_pause_says_once_when_it_began() {
    check(
        "
        spec: {paused: true}
        status: {phase: Running, pausedAt: +1m}
        seen: {canary: {available: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
        "#]],
    );
}

#[test]
fn a_paused_run_is_not_judged() {
    check(
        "
        spec: {paused: true, validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match validation=failed
        "#]],
    );
}

#[test]
fn a_paused_run_does_not_succeed_at_its_deadline() {
    check(
        "
        spec: {paused: true, verdict: valid}
        status: {phase: Running, pausedAt: +14m}
        seen: {canary: {available: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Running 14m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 1m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            verdicts {"present":{"verdict":"valid"}}
        "#]],
    );
}

#[test]
fn a_paused_canary_does_not_follow_the_target() {
    check(
        "
        spec: {paused: true, scale: {percent: {value: 20}}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, target: {replicas: 100}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            pausedAt +1m0s
        "#]],
    );
}

#[test]
fn a_pause_that_begins_in_an_unwritten_initial_delay_keeps_what_was_over_of_it() {
    check(
        "
        spec: {paused: true, validation: {initialDelay: 1m, validationPeriod: 10m}}
        seen: {canary: {available: +0s}}
        now: +10s
        ",
        expect![[r#"
            shows Scheduled 10s/11m0s
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            currentTraffic none, initialDelay 1m0s, validationPeriod 10m0s, availableAt +0s, validationStartTime +1m0s, deadline +11m0s, pausedAt +10s
        "#]],
    );
}

#[test]
fn a_paused_success_does_not_touch_the_target() {
    check(
        "
        spec: {paused: true}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +1m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=False Paused: spec.paused is true: Deployment myapp is not updated
            removed verdicts
        "#]],
    );
}

#[test]
fn a_paused_kanary_that_waits_for_its_schedule_says_so() {
    check(
        "
        spec: {paused: true, schedule: +1h}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            currentTraffic none, startTime +0s, pausedAt +0s
        "#]],
    );
}

#[test]
fn a_finished_run_is_not_held() {
    check(
        "
        spec: {paused: true}
        status: {phase: Failed}
        seen: {canary: {}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn an_error_that_is_there_stays_to_be_seen_during_the_pause() {
    check(
        "
        spec: {paused: true, serviceName: myapp-svc, traffic: {source: service}}
        status:
          phase: Running
          conditions: {Errored: 'True ServiceNotFound: x', Stalled: 'True ServiceNotFound: x', Reconciling: 'False ServiceNotFound: x'}
        seen: {canary: {available: +0s}, service: null}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is (since +0s)
            Stalled=False Paused: spec.paused is true
            pausedAt +1m0s
        "#]],
    );
}

#[test]
fn a_changed_template_starts_its_run_held() {
    check(
        "
        spec: {paused: true}
        status: {phase: New}
        seen: {canary: {run: older}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}
