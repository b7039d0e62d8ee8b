//! A `spec.verdict` from an earlier run.

use expect_test::expect;

use super::check;

#[test]
fn a_verdict_that_stood_in_the_former_run_does_not_count_for_the_next() {
    check(
        "
        spec: {verdict: valid}
        status: {phase: DeploymentUpdated, template: old, verdicts: {present: {verdict: valid}}}
        now: +1h
        ",
        expect![[r#"
            phase DeploymentUpdated → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            VerdictIgnored=True FromEarlierRun: spec.verdict valid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            run 2, verdicts {"present":{"verdict":"valid"},"stale":{"verdict":"valid"}}
            removed Activated, Traffic, Running, Succeeded, DeploymentUpdated, initialDelay, validationPeriod, promotedHash, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn an_old_verdict_promotes_nothing() {
    check(
        "
        spec: {verdict: valid}
        status: {phase: Running, run: 2, verdicts: {present: {verdict: valid}, stale: {verdict: valid}}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            VerdictIgnored=True FromEarlierRun: spec.verdict valid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_old_invalid_verdict_fails_nothing() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running, run: 2, verdicts: {present: {verdict: invalid}, stale: {verdict: invalid}}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            VerdictIgnored=True FromEarlierRun: spec.verdict invalid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_old_verdict_does_not_end_the_run_at_its_deadline() {
    check(
        "
        spec: {verdict: valid}
        status: {phase: Running, run: 2, verdicts: {present: {verdict: valid}, stale: {verdict: valid}}}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (since +0s)
            VerdictIgnored=True FromEarlierRun: spec.verdict valid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
        "#]],
    );
}

#[test]
fn the_opposite_of_an_old_verdict_counts_at_once() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Running, run: 2, verdicts: {present: {verdict: valid}, stale: {verdict: valid}}}
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
fn an_old_verdict_that_is_removed_is_old_no_more() {
    check(
        "
        kanary: {generation: 2}
        status: {phase: Running, run: 2, verdicts: {present: {verdict: valid}, stale: {verdict: valid}}, conditions: {VerdictIgnored: 'True FromEarlierRun: x'}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            VerdictIgnored=False NoneIgnored: no verdict in the spec is from an earlier run any more
            removed verdicts
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_verdict_that_was_removed_and_set_again_counts() {
    check(
        "
        kanary: {generation: 3}
        spec: {verdict: valid}
        status: {phase: Running, run: 2, observedGeneration: 2}
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
fn a_verdict_that_comes_with_the_template_counts() {
    check(
        "
        kanary: {generation: 2}
        spec: {verdict: valid}
        status: {phase: DeploymentUpdated, template: old, verdicts: null}
        now: +1h
        ",
        expect![[r#"
            phase DeploymentUpdated → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2, verdicts {"present":{"verdict":"valid"}}
            removed Activated, Traffic, Running, Succeeded, DeploymentUpdated, initialDelay, validationPeriod, promotedHash, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn the_first_run_takes_the_verdict_that_came_with_it() {
    check(
        "
        spec: {verdict: valid}
        seen: {canary: {created: +0s, available: +1s}}
        now: +1s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m1s
            currentTraffic none, verdicts {"present":{"verdict":"valid"}}, initialDelay 0s, validationPeriod 15m0s, startTime +0s, availableAt +1s, validationStartTime +1s, deadline +15m1s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn a_status_of_a_version_that_recorded_no_verdicts_may_have_had_them_all() {
    check(
        "
        spec: {verdict: valid, validation: {items: [{manual: {status: valid}}, {manual: {status: invalid}}]}}
        status: {phase: DeploymentUpdated, template: old, currentTraffic: null}
        now: +1h
        ",
        expect![[r#"
            phase DeploymentUpdated → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            VerdictIgnored=True FromEarlierRun: spec.verdict valid, and the status valid of a manual item stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            run 2, currentTraffic none, verdicts {"present":{"invalid":1,"valid":1,"verdict":"valid"},"stale":{"valid":1,"verdict":"valid"}}
            removed Activated, Traffic, Running, Succeeded, DeploymentUpdated, initialDelay, validationPeriod, promotedHash, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn an_old_verdict_is_old_for_a_retry_as_well() {
    check(
        "
        spec: {verdict: invalid, retry: 1}
        status: {phase: Failed}
        now: +1h
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.retry changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            VerdictIgnored=True FromEarlierRun: spec.verdict invalid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            run 2, retry 1, verdicts {"present":{"verdict":"invalid"},"stale":{"verdict":"invalid"}}
            removed Activated, Traffic, Running, Failed, Stalled, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn a_verdict_that_is_set_after_the_end_is_recorded() {
    check(
        "
        kanary: {generation: 2}
        spec: {verdict: valid}
        status: {phase: DeploymentUpdated, verdicts: null}
        seen: {target: {promotedBy: this run}}
        now: +1h
        ",
        expect![[r#"
            shows DeploymentUpdated 0s/15m0s
            verdicts {"present":{"verdict":"valid"}}
        "#]],
    );
}

#[test]
fn a_verdict_that_is_the_only_news_is_recorded() {
    // Otherwise it would be unknown later that the verdict was given for this run.
    check(
        "
        spec: {verdict: valid}
        kanary: {generation: 2}
        seen: {canary: {}}
        now: +1s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, verdicts {"present":{"verdict":"valid"}}, startTime -30s
            wake at +9m30s
        "#]],
    );
    check(
        "
        spec: {verdict: valid}
        kanary: {generation: 2}
        status: {observedGeneration: 1, conditions: {Scheduled: 'True NewRun: a new run starts'}}
        seen: {target: null, missingSince: +0s}
        now: +1s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            currentTraffic none, verdicts {"present":{"verdict":"valid"}}
            wake at +5s
        "#]],
    );
}
