//! The rollout of the promoted target: quotas, pauses, and field ownership.

use expect_test::expect;

use super::check;

#[test]
fn a_canary_that_holds_the_quota_of_its_promoted_target_gives_way() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, replicaFailure: 'exceeded quota: pods'}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Succeeded 0s/15m0s
            Reconciling=True CanaryGaveWay: Deployment myapp was updated and its pods cannot be created (exceeded quota: pods): Deployment myapp-kanary-batman is deleted to make room (since +0s)
            removed verdicts
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_canary_gives_way_to_a_rollout_that_makes_no_progress() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, hpa: {}, target: {promotedBy: this run, rolledOut: false, progressed: +1m}}
        now: +3m
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
            delete Deployment myapp-kanary-batman
            shows Succeeded 0s/15m0s
            Reconciling=True CanaryGaveWay: Deployment myapp was updated and its rollout has made no progress for 2m0s: Deployment myapp-kanary-batman is deleted to make room (since +0s)
            removed verdicts
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_canary_stays_while_its_target_makes_progress() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, progressed: +2m}}
        now: +3m
        ",
        expect![[r#"
            wake at +4m0s
        "#]],
    );
}

#[test]
fn a_canary_that_gave_way_is_still_reported_once_the_target_makes_progress() {
    check(
        "
        status: {phase: Succeeded, conditions: {Reconciling: 'True CanaryGaveWay: Deployment myapp needed room'}}
        seen: {canary: {deleting: true}, target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            wake at +10m0s
        "#]],
    );
}

#[test]
fn after_its_canary_gave_way_a_target_that_rolled_out_ends_the_run_well() {
    check(
        "
        status: {phase: Succeeded, conditions: {Reconciling: 'True CanaryGaveWay: Deployment myapp needed room'}}
        seen: {target: {promotedBy: this run}}
        now: +2m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t2, completedAt +2m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_never_becomes_available_says_why_its_pods_are_missing_and_is_not_kept_from_them() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, replicaFailure: 'exceeded quota: pods'}}
        now: +10m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Succeeded 0s/15m0s
            Reconciling=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s: exceeded quota: pods
            Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s: exceeded quota: pods
            promotedHash of t2
            removed verdicts
        "#]],
    );
}

#[test]
fn a_delete_that_is_refused_is_tried_again_when_its_time_has_come() {
    check(
        "
        status: {phase: Succeeded}
        seen:
          canary: {available: +0s}
          target: {promotedBy: this run, rolledOut: false, replicaFailure: 'exceeded quota: pods'}
          refusal: {retryAt: +90s}
        now: +1m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=True CanaryGaveWay: Deployment myapp was updated and its pods cannot be created (exceeded quota: pods): Deployment myapp-kanary-batman is deleted to make room (since +0s)
            removed verdicts
            wake at +1m30s
        "#]],
    );
}

#[test]
fn a_target_that_a_user_paused_is_reported() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
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

#[test]
fn a_target_that_is_resumed_has_its_whole_progress_deadline() {
    check(
        "
        status: {phase: Succeeded, conditions: {Stalled: 'True TargetPaused: x', Reconciling: 'False TargetPaused: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1h
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it
            Stalled=False Resolved: nothing is in the way any more
            removed verdicts
            wake at +1h2m0s
        "#]],
    );
}

#[test]
fn a_run_that_is_paused_after_the_promotion_says_that_the_target_was_updated() {
    check(
        "
        spec: {paused: true}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1h
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Succeeded 0s/15m0s
            Reconciling=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s
            Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s
            promotedHash of t2
            removed verdicts
        "#]],
    );
}

#[test]
fn a_pause_does_not_keep_a_target_that_rolled_out_from_being_updated() {
    check(
        "
        spec: {paused: true}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run}}
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
fn a_run_that_is_called_invalid_before_the_promotion_fails_though_it_is_paused() {
    check(
        "
        spec: {paused: true, verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +16m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_run_that_is_called_invalid_while_the_promotion_is_refused_fails() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}, refusal: {retryAt: +20m, ofTarget: true}}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +16m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_promotion_that_a_policy_refuses_is_reported_and_retried() {
    check(
        "
        status: {phase: Succeeded}
        seen:
          canary: {available: +0s}
          refusal: {reason: WriteRefused, message: 'could not set the template of Deployment myapp: denied by policy', retryAt: +17m, ofTarget: true}
        now: +16m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False WriteRefused: could not set the template of Deployment myapp: denied by policy
            Errored, Stalled=True WriteRefused: could not set the template of Deployment myapp: denied by policy
            removed verdicts
            wake at +17m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_created_again_with_another_selector_is_not_promoted() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {selector: {app: other}}, live: {}}
        now: +16m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False TemplateMismatch: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=other), so it could not be promoted: add them
            Errored, Stalled=True TemplateMismatch: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=other), so it could not be promoted: add them
            removed verdicts
        "#]],
    );
}

#[test]
fn fields_of_a_target_that_a_user_applies_are_handed_over() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, holdsFields: true}}
        now: +1m
        ",
        expect![[r#"
            hand over the fields of myapp
        "#]],
    );
}

#[test]
fn fields_of_a_target_that_a_user_applies_later_are_handed_over_after_the_run() {
    check(
        "
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: this run, holdsFields: true}}
        now: +1h
        ",
        expect![[r#"
            hand over the fields of myapp
        "#]],
    );
}

#[test]
fn fields_that_another_kanary_changed_are_its_to_hand_over() {
    check(
        "
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: uid-robin/abc-1, holdsFields: true}}
        now: +1h
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn fields_that_cannot_be_handed_over_keep_no_run_from_its_end() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, holdsFields: true}, keepsOwnership: true}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t2, completedAt +1m0s
            removed verdicts
        "#]],
    );
}
