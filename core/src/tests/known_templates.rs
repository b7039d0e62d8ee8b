//! After the promotion, the target's template is decisive, not who wrote it.

use expect_test::expect;

use super::check;

#[test]
fn a_target_that_is_replaced_by_one_with_the_same_template_is_updated() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {template: t2, created: +15m}, promotion: t2}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t2, completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_without_our_annotation_and_with_the_promoted_template_rolls_out() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {template: t2, rolledOut: false}, promotion: t2}
        now: +1m
        ",
        expect![[r#"
            wake at +2m0s
        "#]],
    );
}

#[test]
fn a_promoted_target_that_is_gone_may_come_back() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: null, promotion: t2}
        now: +1m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False TargetNotFound: Deployment myapp was updated and is gone: create it again
            Errored, Stalled=True TargetNotFound: Deployment myapp was updated and is gone: create it again
            removed verdicts
        "#]],
    );
}

#[test]
fn who_does_not_know_what_it_promoted_reads_the_target() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t2}, promotion: unknown}
        now: +16m
        ",
        expect![[r#"
            read LiveTarget
        "#]],
    );
}

#[test]
fn who_does_not_know_what_it_promoted_asks_what_the_template_would_change() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t2}, live: {template: t2, promotedBy: this run}, promotion: unknown}
        now: +16m
        ",
        expect![[r#"
            read SameTemplate
        "#]],
    );
}

#[test]
fn a_promotion_without_a_reply_of_the_template_that_the_target_had_is_one() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t1}, live: {template: t1, promotedBy: this run}, promotion: unknown, likeness: same}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t1, completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_promotion_without_a_reply_that_was_reverted_is_reported() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t1}, live: {template: t1, promotedBy: this run}, promotion: unknown, likeness: other}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            Failed, Stalled=True TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_template_of_a_user_over_a_promotion_without_a_reply_does_not_count_as_updated() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t7}, live: {template: t7, promotedBy: this run}, promotion: unknown, likeness: other}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            Failed, Stalled=True TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn the_promoted_template_without_our_annotation_counts_as_updated_after_a_restart() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {template: t2}, live: {template: t2}, promotion: unknown, likeness: same}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t2, completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_was_created_again_after_the_verdict_as_it_was_is_not_overruled_by_who_does_not_know_whether_it_promoted()
 {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {created: +5s}, promotion: unknown}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: Deployment myapp was deleted and created again after the verdict, with another template than this run's; set spec.retry to another number to run again
            Failed, Stalled=True TargetChanged: Deployment myapp was deleted and created again after the verdict, with another template than this run's; set spec.retry to another number to run again
            completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn where_a_policy_keeps_the_api_server_from_telling_the_annotation_counts() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t2}, live: {template: t2, promotedBy: this run}, promotion: unknown, likeness: unknown}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t2, completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn where_a_policy_keeps_the_api_server_from_telling_the_template_from_before_counts_as_put_back() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t1}, live: {template: t1, promotedBy: this run}, promotion: unknown, likeness: unknown}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            Failed, Stalled=True TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_stored_hash_of_the_promoted_template_needs_no_further_question() {
    check(
        "
        status: {phase: Succeeded, promotedHash: t2}
        seen: {canary: {available: +0s}, target: {template: t2}, promotion: unknown}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            completedAt +16m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_changed_leaves_the_template_runnable_after_another_one() {
    check(
        "
        status: {template: other, phase: Failed, failedTemplates: null, conditions: {Failed: 'True TargetChanged: x'}}
        now: +1h
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2
            removed Activated, Traffic, Running, Stalled, Failed, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn a_run_that_ended_because_the_target_changed_does_not_begin_again_by_itself() {
    check(
        "
        status: {phase: Failed, failedTemplates: null, conditions: {Failed: 'True TargetChanged: x', Stalled: 'True TargetChanged: x'}}
        seen: {target: {template: t7}}
        now: +1h
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_dry_run_of_the_promotion_that_does_not_get_done_is_reported() {
    check(
        "
        status: {phase: Succeeded}
        seen:
          canary: {available: +0s}
          target: {promotedBy: this run, template: t1}
          live: {template: t1, promotedBy: this run}
          promotion: unknown
          refusal: {reason: WriteFailed, message: 'could not dry-run the promotion of Deployment myapp: not today', retryAt: +16m}
        now: +15m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False WriteFailed: could not dry-run the promotion of Deployment myapp: not today
            Errored, Stalled=True WriteFailed: could not dry-run the promotion of Deployment myapp: not today
            removed verdicts
            wake at +16m0s
        "#]],
    );
}
