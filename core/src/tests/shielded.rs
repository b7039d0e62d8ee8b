//! Neither a pause nor a blocked promotion shields a bad canary.

use expect_test::expect;

use super::check;

#[test]
fn an_invalid_verdict_ends_a_paused_run() {
    check(
        "
        spec: {paused: true, verdict: invalid}
        status: {phase: Running, pausedAt: +1m}
        seen: {canary: {available: +0s}}
        now: +2m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +2m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_manual_invalid_ends_a_paused_run() {
    check(
        "
        spec: {paused: true, validation: {items: [{manual: {status: invalid}}]}}
        status: {phase: Running, pausedAt: +1m}
        seen: {canary: {available: +0s}}
        now: +2m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ManualInvalid: manual[0]: status is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"invalid":1}}, completedAt +2m0s, failedTemplates ["<hash>"]
            item manual[0] Bad: manual[0]: status is invalid
        "#]],
    );
}

#[test]
fn a_measurement_that_comes_during_a_pause_and_is_bad_ends_the_run() {
    check(
        "
        spec: {paused: true, validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running, pausedAt: +1m}
        seen: {canary: {available: +0s}, tallies: [{bad: 1, last: Fail 0 is not 1, at: +1m}]}
        now: +2m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True PromQLFailed: promQL[0]: 0 is not 1; to try again, change spec.template, or set spec.retry to another number
            completedAt +2m0s, failedTemplates ["<hash>"]
            item promQL[0] Bad (0 good, 1 bad, 0 errors): 0 is not 1
        "#]],
    );
}

#[test]
fn a_paused_run_asks_no_queries() {
    check(
        "
        spec: {paused: true, validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running, pausedAt: +10s}
        seen: {canary: {available: +0s}}
        now: +20m
        ",
        expect![[r#"
            shows Running 10s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m50s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
        "#]],
    );
}

#[test]
fn a_valid_verdict_waits_for_the_end_of_the_pause() {
    check(
        "
        spec: {paused: true, verdict: valid}
        status: {phase: Running, pausedAt: +1m}
        seen: {canary: {available: +0s}}
        now: +2m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m0s of its validation are left (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            verdicts {"present":{"verdict":"valid"}}
        "#]],
    );
}

#[test]
fn the_deadline_does_not_pass_during_a_pause() {
    check(
        "
        spec: {paused: true, validation: {items: [{manual: {statusAfterDeadline: invalid}}]}}
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
fn a_label_during_a_warm_up_that_is_paused_does_not_count_yet() {
    check(
        "
        spec: {paused: true, validation: {initialDelay: 1m, items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Scheduled, pausedAt: +30s}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +1h
        ",
        expect![[r#"
            shows Scheduled 30s/16m0s
            Scheduled=True Paused: spec.paused is true: nothing is created, and no time passes for this run (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
        "#]],
    );
}

#[test]
fn an_invalid_verdict_takes_a_success_away_whose_promotion_is_paused() {
    check(
        "
        spec: {paused: true, verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}}
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
fn a_label_takes_a_success_away_whose_promotion_is_paused() {
    check(
        "
        spec: {paused: true, validation: {items: [{labelWatch: {podInvalidationLabels: {validation: failed}}}]}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, pods: [{labels: {validation: failed}}]}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False LabelMatched: labelWatch[0]: pod x has labels that match validation=failed
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match validation=failed; to try again, change spec.template, or set spec.retry to another number
            completedAt +1m0s, failedTemplates ["<hash>"]
            removed verdicts
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match validation=failed
        "#]],
    );
}

#[test]
fn an_invalid_verdict_takes_a_success_away_whose_target_is_gone() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: null}
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
fn an_invalid_verdict_takes_a_success_away_whose_promotion_is_refused() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, refusal: {retryAt: +10m}}
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
fn whether_it_was_promoted_is_read_before_a_verdict_takes_a_success_away() {
    check(
        "
        spec: {paused: true, verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, promotion: unknown}
        now: +1m
        ",
        expect![[r#"
            read LiveTarget
        "#]],
    );
}

#[test]
fn a_status_after_the_deadline_does_not_undo_a_verdict_that_was_given_before() {
    check(
        "
        spec: {paused: true, validation: {items: [{manual: {statusAfterDeadline: invalid}}]}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=False Paused: spec.paused is true: Deployment myapp is not updated
            removed verdicts
        "#]],
    );
}

#[test]
fn a_pause_does_not_hold_a_target_that_rolls_out_already() {
    check(
        "
        spec: {paused: true}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            wake at +2m0s
        "#]],
    );
}

#[test]
fn a_paused_kanary_says_that_its_target_came_back() {
    check(
        "
        spec: {paused: true}
        status: {phase: Succeeded, conditions: {Errored: 'True TargetNotFound: x', Stalled: 'True TargetNotFound: x', Reconciling: 'False Paused: x'}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Reconciling=False Paused: spec.paused is true: Deployment myapp is not updated (since +0s)
            Stalled=False Resolved: nothing is in the way any more
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_is_paused_itself_is_mentioned() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, paused: true}}
        now: +1h
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=False TargetPaused: Deployment myapp was updated and is paused itself, so it does not roll out: resume it with kubectl rollout resume deployment/myapp
            Stalled=True TargetPaused: Deployment myapp was updated and is paused itself, so it does not roll out: resume it with kubectl rollout resume deployment/myapp
            removed verdicts
        "#]],
    );
}
