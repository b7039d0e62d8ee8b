//! After the promotion: the target rolls out, or is rolled back to its former template.

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
            shows Succeeded 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it
            Stalled=False Resolved: nothing is in the way any more
            removed verdicts
            wake at +3m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_promoted_late_has_its_whole_progress_deadline() {
    check(
        "
        status:
          phase: Succeeded
          conditions: {Errored: 'True WriteRefused: no', Stalled: 'True WriteRefused: no', Reconciling: 'False WriteRefused: no'}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1h
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it
            Stalled=False Resolved: nothing is in the way any more
            removed verdicts
            wake at +1h2m0s
        "#]],
    );
}

#[test]
fn a_target_that_does_not_become_available_is_reported_as_stalled() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +10m
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
fn a_target_whose_rollout_the_cluster_gave_up_is_reported_as_stalled_at_once() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, progressFailed: true}}
        now: +1m
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
fn a_stalled_target_that_rolls_out_after_all_ends_the_run_well() {
    check(
        "
        status: {phase: Succeeded, conditions: {Stalled: 'True TargetNotAvailable: x', Reconciling: 'False TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run}}
        now: +20m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated=False DeploymentUpdated: the run has ended
            Reconciling=False DeploymentUpdated: the run has ended (since +0s)
            Stalled=False Resolved: nothing is in the way any more
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended
            promotedHash of t2, completedAt +20m0s
            removed verdicts
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
            phase Succeeded → Failed, shows Failed 10m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; the former template is put back, if the rollout history has one
            RolledBack=False Pending: Deployment myapp is about to get its former template back
            Failed, Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; the former template is put back, if the rollout history has one; to try again, change spec.template, or set spec.retry to another number
            promotedHash of t2, completedAt +10m0s, failedTemplates ["<hash>"]
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_is_read_before_the_run_fails_for_its_rollout() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}, targetConfirmed: false}
        now: +10m
        ",
        expect![[r#"
            read Target
        "#]],
    );
}

#[test]
fn a_rollback_reads_the_former_template_first() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
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
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}, live: {template: t2, promotedBy: this run}, former: t1}
        now: +10m
        ",
        expect![[r#"
            set template of myapp from t2 to t1, by uid-batman/<hash>-1/rolled-back
        "#]],
    );
}

#[test]
fn a_rollback_is_reported() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: 'this run, rolled back', template: t1}}
        now: +10m
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            RolledBack=True TemplateRestored: Deployment myapp has the template back that it had before the promotion
            removed verdicts
        "#]],
    );
}

#[test]
fn after_a_rollback_the_canary_goes() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'True TemplateRestored: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: 'this run, rolled back', template: t1}}
        now: +10m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_hotfix_after_the_promotion_is_not_rolled_back() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, template: t7}, live: {template: t7, promotedBy: this run}, former: t1}
        now: +10m
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            RolledBack=False TargetChanged: Deployment myapp no longer has the template that this run promoted, or another run has promoted it since: it is left alone (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_hotfix_that_comes_while_a_rollback_is_prepared_is_left_alone() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {target: {promotedBy: this run, template: t2}, live: {template: t7, promotedBy: this run}, former: t1}
        now: +10m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_target_that_another_run_promoted_since_is_not_rolled_back() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {target: {promotedBy: uid-robin/abc-1, template: t2}}
        now: +10m
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            RolledBack=False TargetChanged: Deployment myapp no longer has the template that this run promoted, or another run has promoted it since: it is left alone (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_rollback_that_is_over_is_never_begun_again() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False TargetChanged: x'}}
        seen: {target: {promotedBy: this run, template: t2}}
        now: +30m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_status_that_says_nothing_of_a_rollback_begins_none() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x'}}
        seen: {target: {promotedBy: this run, template: t2}, live: {template: t2, promotedBy: this run}, former: t1}
        now: +30m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_rollback_that_is_no_longer_wanted_is_not_made() {
    check(
        "
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {target: {promotedBy: this run, template: t2}}
        now: +30m
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            RolledBack=False NotWanted: spec.rollout.rollbackOnFailure is false now: Deployment myapp keeps its template (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_goes_needs_no_rollback() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {target: null}
        now: +30m
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            RolledBack=False TargetNotFound: Deployment myapp is gone: there is nothing to roll back (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_rollback_that_is_refused_keeps_no_canary_in_production() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen:
          canary: {available: +0s}
          target: {promotedBy: this run, template: t2}
          refusal: {message: could not set the template of Deployment myapp, retryAt: +11m, ofTarget: true}
        now: +10m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Errored 0s/15m0s
            Stalled=True WriteRefused: could not set the template of Deployment myapp (since +0s)
            Errored=True WriteRefused: could not set the template of Deployment myapp
            removed verdicts
            wake at +11m0s
        "#]],
    );
}

#[test]
fn a_rollback_without_a_former_template_leaves_the_target_alone() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}, live: {template: t2, promotedBy: this run}, noFormer: true}
        now: +10m
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            RolledBack=False NoFormerTemplate: the rollout history of Deployment myapp has no other template: it keeps the one that was promoted (since +0s)
            removed verdicts
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
fn a_canary_that_cannot_leave_production_holds_up_no_rollback() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', RolledBack: 'False Pending: x'}}
        seen:
          canary: {available: +0s}
          pods: [{name: a, labels: {app: myapp}}]
          target: {promotedBy: this run}
          live: {template: t2, promotedBy: this run}
          former: t1
          attempts: {labels: {last: +10m}, deletion: {last: +10m}, scale: {last: +10m}}
        now: +10m1s
        ",
        expect![[r#"
            set template of myapp from t2 to t1, by uid-batman/<hash>-1/rolled-back
            wake at +10m5s
        "#]],
    );
}
