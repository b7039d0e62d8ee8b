//! The end of a pause: pending times move by its length.

use expect_test::expect;

use super::check;

#[test]
fn the_deadline_moves_by_the_length_of_the_pause() {
    check(
        "
        status: {phase: Running, pausedAt: +5m, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +0s}}
        now: +1h5m
        ",
        expect![[r#"
            shows Running 5m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +1h15m0s (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h15m0s
            deadline +1h15m0s, resumedAt +1h5m0s
            removed pausedAt
            wake at +1h15m0s
        "#]],
    );
}

#[test]
fn the_deadline_moves_once() {
    check(
        "
        status: {phase: Running, deadline: +1h15m, resumedAt: +1h5m}
        seen: {canary: {available: +0s}}
        now: +1h10m
        ",
        expect![[r#"
            shows Running 10m0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h15m0s (since +0s)
            wake at +1h15m0s
        "#]],
    );
}

#[test]
fn a_pause_in_the_initial_delay_moves_the_start_as_well() {
    check(
        "
        spec: {validation: {initialDelay: 1m}}
        status: {phase: Scheduled, pausedAt: +20s}
        seen: {canary: {available: +0s}}
        now: +2m
        ",
        expect![[r#"
            shows Scheduled 20s/16m0s
            validationStartTime +2m40s, deadline +17m40s, resumedAt +2m0s
            removed pausedAt
            wake at +2m40s
        "#]],
    );
}

#[test]
fn a_pause_during_the_validation_leaves_its_start() {
    check(
        "
        spec: {validation: {initialDelay: 1m}}
        status: {phase: Running, pausedAt: +2m}
        seen: {canary: {available: +0s}}
        now: +3m
        ",
        expect![[r#"
            shows Running 2m0s/16m0s
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +17m0s (since +0s)
            Running=True Validating: Deployment myapp-kanary-batman is judged until +17m0s (since +1m0s)
            deadline +17m0s, resumedAt +3m0s
            removed pausedAt
            wake at +17m0s
        "#]],
    );
}

#[test]
fn a_canary_that_became_available_during_the_pause_is_judged_from_its_end() {
    check(
        "
        spec: {validation: {initialDelay: 1m, validationPeriod: 10m}}
        status: {currentHash: '<this>', pausedAt: -1m, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Scheduled 0s/11m0s
            Reconciling, Scheduled=True InitialDelay: Deployment myapp-kanary-batman is available and warms up for the initial delay
            currentTraffic none, initialDelay 1m0s, validationPeriod 10m0s, startTime -30s, availableAt +0s, validationStartTime +1h1m0s, deadline +1h11m0s, resumedAt +1h0m0s
            removed pausedAt
            wake at +1h1m0s
        "#]],
    );
}

#[test]
fn a_clock_that_goes_back_does_not_shorten_the_run() {
    check(
        "
        status: {phase: Running, pausedAt: +5m}
        seen: {canary: {available: +0s}}
        now: +4m
        ",
        expect![[r#"
            shows Running 4m0s/15m0s
            resumedAt +4m0s
            removed pausedAt
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_pause_does_not_count_against_the_progress_deadline() {
    check(
        "
        status: {currentHash: '<this>', pausedAt: +1m, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {created: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Reconciling, Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, startTime +0s, resumedAt +1h0m0s
            removed pausedAt
            wake at +1h10m0s
        "#]],
    );
}

#[test]
fn a_created_target_has_its_progress_deadline_anew_after_a_pause() {
    check(
        "
        status: {currentHash: '<this>', pausedAt: +1m, conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, rolledOut: false, created: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available (since +0s)
            Scheduled=True TargetCreated: the target did not exist and was created
            Reconciling=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            currentTraffic none, startTime +0s, resumedAt +1h0m0s
            removed pausedAt
            wake at +1h10m0s
        "#]],
    );
}

#[test]
fn a_success_that_is_resumed_is_promoted() {
    check(
        "
        status: {phase: Succeeded, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +0s}, live: {}}
        now: +1h
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn a_target_that_is_promoted_after_a_pause_has_its_whole_progress_deadline() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Succeeded, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1h
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it
            removed verdicts
            wake at +1h2m0s
        "#]],
    );
}

#[test]
fn a_pause_over_the_schedule_starts_the_run_at_its_end() {
    check(
        "
        spec: {schedule: +1h}
        status: {currentHash: '<this>', pausedAt: +30m, conditions: {Reconciling: 'False Paused: x'}}
        now: +2h
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            shows Scheduled 0s/15m0s
            Reconciling, Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, resumedAt +2h0m0s
            removed pausedAt
        "#]],
    );
}

#[test]
fn a_run_that_was_resumed_before_its_schedule_waits_for_it() {
    check(
        "
        spec: {schedule: +1h}
        status: {currentHash: '<this>', pausedAt: +30m, conditions: {Reconciling: 'False Paused: x'}}
        now: +40m
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Reconciling, Scheduled=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic none, resumedAt +40m0s
            removed pausedAt
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_failed_run_that_is_paused_and_resumed_says_nothing() {
    check(
        "
        status: {phase: Failed}
        now: +1h
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_pause_that_ends_leaves_the_run_reconciling() {
    check(
        "
        spec: {validation: {validationPeriod: 10m}}
        status: {phase: Running, pausedAt: +1m, conditions: {Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +0s}}
        now: +3m
        ",
        expect![[r#"
            shows Running 1m0s/10m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +12m0s (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +12m0s
            deadline +12m0s, resumedAt +3m0s
            removed pausedAt
            wake at +12m0s
        "#]],
    );
}
