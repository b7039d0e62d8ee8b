//! `spec.verdict`: the user's verdict on the whole run.

use expect_test::expect;

use super::check;

#[test]
fn a_verdict_valid_wins_over_items_that_wait() {
    check(
        "
        spec: {verdict: valid}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1m0s/15m0s
            Running=False VerdictValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True VerdictValid: spec.verdict is valid
            verdicts {"present":{"verdict":"valid"}}
        "#]],
    );
}

#[test]
fn a_verdict_valid_needs_an_available_canary() {
    check(
        "
        spec: {verdict: valid}
        status: {phase: Running}
        seen: {canary: {unavailable: +30s}}
        now: +1m
        ",
        expect![[r#"
            wake at +10m30s
        "#]],
    );
}

#[test]
fn a_verdict_valid_is_running_before_it_succeeds() {
    check(
        "
        spec: {verdict: valid, validation: {initialDelay: 1m}}
        seen: {canary: {available: +0s}}
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/16m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +16m0s
            currentTraffic none, verdicts {"present":{"verdict":"valid"}}, initialDelay 1m0s, validationPeriod 15m0s, startTime -30s, availableAt +0s, validationStartTime +1m0s, deadline +16m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn a_verdict_invalid_fails_the_run_at_once() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_verdict_invalid_before_anything_was_created_creates_nothing() {
    check(
        "
        spec: {verdict: invalid}
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, verdicts {"present":{"verdict":"invalid"}}, completedAt +0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_verdict_valid_does_not_excuse_a_problem() {
    check(
        "
        spec: {verdict: valid, serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, service: null}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic, Reconciling=False ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            Errored, Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            verdicts {"present":{"verdict":"valid"}}
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_verdict_invalid_stops_a_success_that_the_target_has_not_got_yet() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_verdict_invalid_is_too_late_for_a_target_that_is_updated() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: this run}}
        now: +1m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_verdict_invalid_that_is_in_the_same_file_as_a_valid_item_wins() {
    check(
        "
        spec: {verdict: invalid, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"valid":1,"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}
