//! From the verdict to `DeploymentUpdated`.

use expect_test::expect;

use super::check;

#[test]
fn at_the_deadline_the_verdict_is_written_before_the_target_is_touched() {
    check(
        "
        spec: {validation: {items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, live: {}}
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
fn before_the_target_is_written_it_is_read_anew() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            read LiveTarget
        "#]],
    );
}

#[test]
fn the_target_gets_the_pod_template_and_who_did_it() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +15m
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn a_target_that_is_promoted_already_is_not_written_again() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {template: t2, rolledOut: false}, live: {promotedBy: this run, template: t2}, promotion: t2}
        now: +1m
        ",
        expect![[r#"
            wake at +2m0s
        "#]],
    );
}

#[test]
fn a_target_without_annotations_is_promoted_too() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {annotated: false}}
        now: +15m
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn while_the_target_rolls_out_the_canary_stays() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t2, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            wake at +2m0s
        "#]],
    );
}

#[test]
fn once_the_target_has_rolled_out_the_run_is_done() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t2}}
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
fn a_target_that_changed_during_the_run_ends_it() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}, target: {template: t7}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True TargetChanged: the pod template of Deployment myapp changed since the run started: set spec.retry to another number to run against the new one, or spec.rollout.onTargetChange to promote
            completedAt +1m0s
        "#]],
    );
}

#[test]
fn a_target_that_seems_to_have_changed_is_read_before_the_run_fails() {
    check(
        "
        status: {phase: Running, targetHash: another}
        seen: {canary: {available: +0s}, targetConfirmed: false}
        now: +1m
        ",
        expect![[r#"
            read Target
        "#]],
    );
}

#[test]
fn a_target_that_changed_before_the_verdict_was_written_is_found_by_the_canarys_annotation() {
    check(
        "
        seen: {canary: {available: +0s, targetTemplate: t1}, target: {template: t7}}
        now: +1m
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True TargetChanged: the pod template of Deployment myapp changed since the run started: set spec.retry to another number to run against the new one, or spec.rollout.onTargetChange to promote
            currentTraffic none, completedAt +1m0s
        "#]],
    );
}

#[test]
fn a_target_that_changed_after_the_verdict_is_not_overwritten() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {template: t7}}
        now: +15m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 15m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: the pod template of Deployment myapp changed since the run started: set spec.retry to another number to run against the new one, or spec.rollout.onTargetChange to promote
            Failed, Stalled=True TargetChanged: the pod template of Deployment myapp changed since the run started: set spec.retry to another number to run against the new one, or spec.rollout.onTargetChange to promote
            completedAt +15m0s
            removed verdicts
        "#]],
    );
}

#[test]
fn on_target_change_promote_overwrites_a_target_that_changed() {
    check(
        "
        spec: {rollout: {onTargetChange: promote}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {template: t7}, live: {template: t7}}
        now: +15m
        ",
        expect![[r#"
            set template of myapp from t7 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn on_target_change_promote_goes_on_when_the_target_changes_during_the_run() {
    check(
        "
        spec: {rollout: {onTargetChange: promote}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, target: {template: t7}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn replicas_of_the_target_may_change_during_the_run() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}, target: {replicas: 50}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_target_that_is_gone_after_the_verdict_is_an_error() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: null}
        now: +15m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False TargetNotFound: Deployment myapp is gone, so it cannot be updated: create it again
            Errored, Stalled=True TargetNotFound: Deployment myapp is gone, so it cannot be updated: create it again
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_comes_back_after_the_verdict_is_promoted() {
    check(
        "
        status:
          phase: Succeeded
          conditions: {Errored: 'True TargetNotFound: gone', Stalled: 'True TargetNotFound: gone', Reconciling: 'False TargetNotFound: gone'}
        seen: {canary: {available: +0s}, live: {}}
        now: +15m
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn another_kanarys_promotion_is_not_taken_for_this_runs() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: uid-robin/abc-1, template: t2}, live: {promotedBy: uid-robin/abc-1, template: t2}}
        now: +16m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 16m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: the pod template of Deployment myapp changed since the run started: set spec.retry to another number to run against the new one, or spec.rollout.onTargetChange to promote
            Failed, Stalled=True TargetChanged: the pod template of Deployment myapp changed since the run started: set spec.retry to another number to run against the new one, or spec.rollout.onTargetChange to promote
            completedAt +16m0s
            removed verdicts
        "#]],
    );
}
