//! Manual items and `spec.verdict`.

use expect_test::expect;

use super::check;

#[test]
fn the_default_is_one_manual_item_that_waits_for_a_person() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (since +0s)
        "#]],
    );
}

#[test]
fn a_manual_valid_ends_the_run_early() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1m0s/15m0s
            Running=False ManualValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True ManualValid: a manual item is valid and every other item agrees
            verdicts {"present":{"valid":1}}
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_manual_invalid_fails_the_run_at_once() {
    check(
        "
        spec: {validation: {items: [{manual: {status: invalid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ManualInvalid: manual[0]: status is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"invalid":1}}, completedAt +1m0s, failedTemplates ["<hash>"]
            item manual[0] Bad: manual[0]: status is invalid
        "#]],
    );
}

#[test]
fn a_manual_invalid_fails_a_run_that_has_not_started() {
    check(
        "
        spec: {validation: {items: [{manual: {status: invalid}}]}}
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True ManualInvalid: manual[0]: status is invalid; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, verdicts {"present":{"invalid":1}}, completedAt +0s, failedTemplates ["<hash>"]
            item manual[0] Bad: manual[0]: status is invalid
        "#]],
    );
}

#[test]
fn a_manual_valid_does_not_make_a_canary_available() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}]}}
        seen: {canary: {}}
        ",
        expect![[r#"
            wake at +9m30s
        "#]],
    );
}

#[test]
fn a_manual_valid_ends_the_initial_delay() {
    check(
        "
        spec: {validation: {initialDelay: 1m, items: [{manual: {status: valid}}]}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +1s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 1s/16m0s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +16m0s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +16m0s
            verdicts {"present":{"valid":1}}
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_manual_valid_waits_for_the_other_items() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}, {manual: {}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn status_after_deadline_valid_agrees_at_the_deadline() {
    check(
        "
        spec: {validation: {items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
            item manual[0] Good
        "#]],
    );
}

#[test]
fn status_after_deadline_valid_is_no_verdict_before_the_deadline() {
    check(
        "
        spec: {validation: {items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +14m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn status_after_deadline_invalid_fails_at_the_deadline() {
    check(
        "
        spec: {validation: {items: [{manual: {statusAfterDeadline: invalid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 15m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ManualInvalid: manual[0]: no status was set before the deadline, and statusAfterDeadline is invalid; to try again, change spec.template, or set spec.retry to another number
            completedAt +15m0s, failedTemplates ["<hash>"]
            item manual[0] Bad: manual[0]: no status was set before the deadline, and statusAfterDeadline is invalid
        "#]],
    );
}

#[test]
fn a_verdict_that_comes_after_the_deadline_counts_at_once() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1h
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1h0m0s/15m0s
            Running=False ManualValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True ManualValid: a manual item is valid and every other item agrees
            verdicts {"present":{"valid":1}}
            item manual[0] Good
        "#]],
    );
}
