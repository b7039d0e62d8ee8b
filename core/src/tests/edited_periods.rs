//! Edits of periods during the validation: the deadline follows.

use expect_test::expect;

use super::check;

#[test]
fn a_longer_period_moves_the_deadline() {
    check(
        "
        spec: {validation: {validationPeriod: 1h}}
        was: {validation: {validationPeriod: 15m}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/1h0m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h0m0s (since +0s)
            validationPeriod 1h0m0s, deadline +1h0m0s
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_shorter_period_moves_the_deadline() {
    check(
        "
        spec: {validation: {validationPeriod: 5m}}
        was: {validation: {validationPeriod: 15m}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/5m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +5m0s (since +0s)
            validationPeriod 5m0s, deadline +5m0s
            wake at +5m0s
        "#]],
    );
}

#[test]
fn a_period_that_is_cut_to_less_than_what_is_over_ends_now() {
    check(
        "
        spec: {validation: {validationPeriod: 5m, items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        was: {validation: {validationPeriod: 15m}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 20, last: Pass, at: +10m}]}
        now: +10m10s
        ",
        expect![[r#"
            shows Running 5m0s/5m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +10m10s (since +0s)
            validationPeriod 5m0s, deadline +10m10s
            item promQL[0] Good (20 good, 0 bad, 0 errors)
            check items [0]
            wake at +10m20s
        "#]],
    );
}

#[test]
fn a_period_that_is_raised_after_the_deadline_goes_on() {
    check(
        "
        spec: {validation: {validationPeriod: 1h}}
        was: {validation: {validationPeriod: 15m}}
        status: {phase: Running, conditions: {Reconciling: 'True WaitingForManual: x'}}
        seen: {canary: {available: +0s}}
        now: +20m
        ",
        expect![[r#"
            shows Running 20m0s/1h0m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h0m0s (since +0s)
            validationPeriod 1h0m0s, deadline +1h0m0s
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_longer_delay_moves_a_start_that_is_still_to_come() {
    check(
        "
        spec: {validation: {initialDelay: 5m}}
        was: {validation: {initialDelay: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +30s
        ",
        expect![[r#"
            shows Scheduled 30s/20m0s
            initialDelay 5m0s, validationStartTime +5m0s, deadline +20m0s
            wake at +5m0s
        "#]],
    );
}

#[test]
fn a_shorter_delay_starts_the_validation_now_at_the_earliest() {
    check(
        "
        spec: {validation: {initialDelay: 10s}}
        was: {validation: {initialDelay: 1m}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +30s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 10s/15m10s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m30s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m30s
            initialDelay 10s, validationStartTime +30s, deadline +15m30s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn a_delay_that_is_over_cannot_be_edited() {
    check(
        "
        spec: {validation: {initialDelay: 5m}}
        was: {validation: {initialDelay: 1m}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +2m
        ",
        expect![[r#"
            wake at +16m0s
        "#]],
    );
}

#[test]
fn a_period_that_is_edited_during_a_pause_counts_from_its_end() {
    check(
        "
        spec: {paused: true, validation: {validationPeriod: 1h}}
        was: {validation: {validationPeriod: 15m}}
        status: {phase: Running, pausedAt: +1m}
        seen: {canary: {available: +0s}}
        now: +2m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
        "#]],
    );
}

#[test]
fn a_status_of_a_version_that_did_not_record_the_periods_has_the_present_ones() {
    check(
        "
        spec: {validation: {validationPeriod: 1h}}
        was: {validation: {validationPeriod: 15m}}
        status: {phase: Running, initialDelay: null, validationPeriod: null}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 46m0s/1h0m0s
            initialDelay 0s, validationPeriod 1h0m0s
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_period_that_the_status_shows_in_fewer_digits_was_not_edited() {
    check(
        "
        spec: {validation: {validationPeriod: 90.123s}}
        status: {phase: Running, validationPeriod: 1m30.1s}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            wake at +1m30.1s
        "#]],
    );
}

#[test]
fn a_spec_that_cannot_be_run_moves_no_deadline() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}, validation: {validationPeriod: 1m}}
        was: {scale: null, validation: {validationPeriod: 15m}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +5m
        ",
        expect![[r#"
            shows Errored 5m0s/15m0s
            Reconciling=False InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            wake at +15m0s
        "#]],
    );
}
