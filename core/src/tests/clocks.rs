//! The periods of a run.

use expect_test::expect;

use super::check;

#[test]
fn the_validation_starts_when_the_canary_is_available_and_ends_a_period_later() {
    check(
        "
        spec: {validation: {validationPeriod: 10m}}
        seen: {canary: {available: +0s}}
        now: +2s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 2s/10m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +10m0s
            currentTraffic none, initialDelay 0s, validationPeriod 10m0s, startTime -30s, availableAt +0s, validationStartTime +0s, deadline +10m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn the_initial_delay_starts_when_the_canary_is_available() {
    check(
        "
        spec: {validation: {initialDelay: 20s, validationPeriod: 1m}}
        seen: {canary: {available: +0s}}
        now: +5s
        ",
        expect![[r#"
            shows Scheduled 5s/1m20s
            Scheduled, Reconciling=True InitialDelay: Deployment myapp-kanary-batman is available and warms up for the initial delay
            currentTraffic none, initialDelay 20s, validationPeriod 1m0s, startTime -30s, availableAt +0s, validationStartTime +20s, deadline +1m20s
            wake at +20s
        "#]],
    );
}

#[test]
fn the_initial_delay_holds_the_run_in_scheduled() {
    check(
        "
        spec: {validation: {initialDelay: 20s, validationPeriod: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +19s
        ",
        expect![[r#"
            wake at +20s
        "#]],
    );
}

#[test]
fn after_the_initial_delay_the_run_is_running() {
    check(
        "
        spec: {validation: {initialDelay: 20s, validationPeriod: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +20s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 20s/1m20s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1m20s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +1m20s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn the_duration_shows_what_is_over_of_the_delay_and_the_period_together() {
    check(
        "
        spec: {validation: {initialDelay: 20s, validationPeriod: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +29s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 29s/1m20s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1m20s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +1m20s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn times_that_are_written_do_not_move_when_the_period_is_edited() {
    check(
        "
        spec: {validation: {validationPeriod: 1h}}
        status: {phase: Running, deadline: +15m}
        seen: {canary: {available: +0s}}
        now: +16m
        ",
        expect![[r#"
            shows Running 1h1m0s/1h0m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (since +0s)
        "#]],
    );
}

#[test]
fn a_controller_that_was_down_at_the_deadline_goes_on_where_it_was() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +3h
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 3h0m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
        "#]],
    );
}

#[test]
fn a_canary_that_was_never_judged_is_not_promoted_because_its_deadline_passed_unobserved() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}}
        seen: {canary: {available: +0s}}
        now: +3h
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 3h0m0s/15m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            currentTraffic none, initialDelay 0s, validationPeriod 15m0s, startTime -30s, availableAt +0s, validationStartTime +0s, deadline +15m0s
            item labelWatch[0] Good
        "#]],
    );
}

#[test]
fn before_the_deadline_nothing_is_decided() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +14m59s
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_period_of_zero_ends_as_soon_as_it_starts() {
    check(
        "
        spec: {validation: {initialDelay: 1s, validationPeriod: 0s, items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1s
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1s/1s
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Running=False AllItemsGood: the verdict is good
            Succeeded=True AllItemsGood: every validation item is good at the deadline
        "#]],
    );
}

#[test]
fn a_canary_that_is_not_available_at_the_deadline_is_not_promoted() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}}
        status: {phase: Running}
        seen: {canary: {unavailable: +14m}}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Reconciling=True WaitingForCanary: Deployment myapp-kanary-batman is not available, so it cannot pass: the run waits until it is (since +0s)
            wake at +24m0s
        "#]],
    );
}
