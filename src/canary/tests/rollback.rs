//! After the promotion: the target rolls out, or its former template is put back; and dry-runs, which promote nothing.

use expect_test::expect;

use super::check;

#[test]
fn an_error_that_is_over_is_not_shown_while_the_target_rolls_out() {
    check(
        "
        status:
          phase: Succeeded
          conditions: {Errored: 'True TargetNotFound: gone', Stalled: 'True TargetNotFound: gone', Reconciling: 'False TargetNotFound: gone'}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            Errored=False Mended
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it
            Stalled=False Mended
            verdicts removed
            shows Succeeded 0s/15m0s
            wake at +11m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_promoted_late_has_its_whole_progress_deadline() {
    check(
        "
        status:
          phase: Succeeded
          conditions: {Errored: 'True Forbidden: no', Stalled: 'True Forbidden: no', Reconciling: 'False Forbidden: no'}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1h
        ",
        expect![[r#"
            Errored=False Mended
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it
            Stalled=False Mended
            verdicts removed
            shows Succeeded 0s/15m0s
            wake at +1h10m0s
        "#]],
    );
}

#[test]
fn a_target_that_does_not_become_available_is_said_to_be_stalled() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +10m
        ",
        expect![[r#"
            Reconciling=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s
            Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s
            verdicts removed
            shows Succeeded 0s/15m0s
        "#]],
    );
}

#[test]
fn a_target_that_the_cluster_gave_up_is_said_to_be_stalled_at_once() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, progressFailed: true}}
        now: +1m
        ",
        expect![[r#"
            Reconciling=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s
            Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s
            verdicts removed
            shows Succeeded 0s/15m0s
        "#]],
    );
}

#[test]
fn a_stalled_target_that_rolls_out_after_all_ends_the_run_well() {
    check(
        "
        status: {phase: Succeeded, conditions: {Stalled: 'True TargetNotAvailable: x', Reconciling: 'False TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run}}
        now: +20m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated
            Activated=False DeploymentUpdated: the run has ended
            Reconciling=False DeploymentUpdated: the run has ended (since +0s)
            Stalled=False Mended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp runs the template on all its replicas
            verdicts removed
            completedAt +20m0s
            shows DeploymentUpdated 0s/15m0s
        "#]],
    );
}

#[test]
fn with_rollback_a_target_that_does_not_become_available_fails_the_run() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +10m
        ",
        expect![[r#"
            phase Succeeded → Failed
            Activated=False RunFailed: the run has ended
            Reconciling=False RunFailed: the run has ended
            Succeeded=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; the former template is put back, if the rollout history has one
            Failed=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; the former template is put back, if the rollout history has one
            Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; the former template is put back, if the rollout history has one
            verdicts removed
            completedAt +10m0s
            failedTemplates ["<hash>"]
            shows Failed 10m0s/15m0s
        "#]],
    );
}

#[test]
fn a_rollback_reads_the_former_template_first() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +10m
        ",
        expect![[r#"
            read FormerTemplate
        "#]],
    );
}

#[test]
fn a_rollback_puts_the_former_template_back() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}, live: {template: t2, promotedBy: this run}, former: t1}
        now: +10m
        ",
        expect![[r#"
            set template of myapp from t2 to t1, by uid-batman/<hash>-1/rolled-back
        "#]],
    );
}

#[test]
fn after_a_rollback_the_canary_goes() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: 'this run, rolled back'}}
        now: +10m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_rollback_without_a_former_template_leaves_the_target_alone() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}, live: {template: t2, promotedBy: this run}}
        now: +10m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_run_that_failed_for_another_reason_rolls_nothing_back() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed}
        seen: {target: {promotedBy: this run}, live: {promotedBy: this run}, former: t1}
        now: +10m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_dry_run_ends_at_succeeded() {
    check(
        "
        spec: {validation: {noUpdate: true, items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            phase Running → Succeeded
            Activated=False DryRun: the run has ended
            Running=False AllItemsGood: the verdict is good
            Reconciling=False DryRun: the run has ended
            Succeeded=True DryRun: every validation item is good at the deadline; a dry-run leaves Deployment myapp alone
            DeploymentUpdated=False DryRun: a dry-run does not update the target
            completedAt +15m0s
            item manual[0] Good
            shows Succeeded 15m0s/15m0s
        "#]],
    );
}

#[test]
fn mode_dry_run_is_the_same_as_no_update() {
    check(
        "
        spec: {rollout: {mode: dry-run}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded
            Activated=False DryRun: the run has ended
            Running=False ManualValid: the verdict is good
            Reconciling=False DryRun: the run has ended
            Succeeded=True DryRun: a manual item is valid and every other item agrees; a dry-run leaves Deployment myapp alone
            DeploymentUpdated=False DryRun: a dry-run does not update the target
            verdicts {"present":{"valid":1}}
            completedAt +1m0s
            item manual[0] Good
            shows Succeeded 1m0s/15m0s
        "#]],
    );
}

#[test]
fn a_dry_run_that_succeeded_never_touches_the_target() {
    check(
        "
        spec: {validation: {noUpdate: true}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +15m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_dry_run_that_ended_does_not_promote_when_the_dry_run_is_switched_off() {
    check(
        "
        spec: {validation: {noUpdate: false}}
        status: {phase: Succeeded, completedAt: +1m, conditions: {Succeeded: 'True DryRun: x'}}
        seen: {live: {}}
        now: +15m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_run_that_becomes_a_dry_run_before_the_target_is_written_ends_as_one() {
    check(
        "
        spec: {validation: {noUpdate: true}}
        status: {phase: Succeeded, completedAt: null, conditions: {Succeeded: 'True VerdictValid: x', Reconciling: 'True Promoting: x'}}
        seen: {canary: {available: +0s}, live: {}}
        now: +15m
        ",
        expect![[r#"
            Reconciling=False DryRun: the run has ended
            Succeeded=True DryRun: the run became a dry-run before the target was updated; a dry-run leaves Deployment myapp alone (since +0s)
            verdicts removed
            completedAt +15m0s
            shows Succeeded 0s/15m0s
        "#]],
    );
}
