//! A bad verdict after the target was updated.

use expect_test::expect;

use super::check;

#[test]
fn a_canary_whose_verdict_comes_while_the_target_rolls_out_leaves_production_at_once() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            unlabel pod a: app
            shows Succeeded 0s/15m0s
            Activated=False VerdictTooLate: spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Traffic=False VerdictTooLate: the canary is taken out of its Services
            Reconciling=True VerdictTooLate: spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses) (since +0s)
            verdicts {"present":{"verdict":"invalid"}}
            wake at +10m0s
        "#]],
    );
}

#[test]
fn once_it_has_left_it_is_deleted_and_nothing_is_reported_twice() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, verdict: invalid}
        status: {phase: Succeeded, conditions: {Activated: 'False VerdictTooLate: spec.verdict is invalid', Traffic: 'False VerdictTooLate: left', Reconciling: 'True VerdictTooLate: spec.verdict is invalid'}}
        seen: {canary: {available: +0s}, pods: [{name: a}], target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_manual_item_that_comes_too_late_counts_the_same() {
    check(
        "
        spec: {validation: {items: [{manual: {status: invalid}}]}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, pods: [{name: a}], target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Succeeded 0s/15m0s
            Activated=False VerdictTooLate: manual[0]: status is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Reconciling=True VerdictTooLate: manual[0]: status is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses) (since +0s)
            verdicts {"present":{"invalid":1}}
            item manual[0] Bad: manual[0]: status is invalid
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_label_that_comes_while_the_target_is_paused_takes_the_canary_out() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{labelWatch: {podInvalidationLabels: {bad: 'yes'}}}]}}
        status: {phase: Succeeded}
        seen:
          canary: {available: +0s}
          pods: [{name: a, labels: {app: myapp, bad: 'yes'}}]
          target: {promotedBy: this run, rolledOut: false, paused: true}
        now: +1m
        ",
        expect![[r#"
            unlabel pod a: app
            shows Succeeded 0s/15m0s
            Activated=False VerdictTooLate: labelWatch[0]: pod a has labels that match bad=yes, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Traffic=False VerdictTooLate: the canary is taken out of its Services
            Reconciling=False TargetPaused: Deployment myapp was updated and is paused itself, so it does not roll out; labelWatch[0]: pod a has labels that match bad=yes, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Stalled=True TargetPaused: Deployment myapp was updated and is paused itself, so it does not roll out; labelWatch[0]: pod a has labels that match bad=yes, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            removed verdicts
            item labelWatch[0] Bad: labelWatch[0]: pod a has labels that match bad=yes
        "#]],
    );
}

#[test]
fn a_label_that_went_with_the_canary_is_still_reported() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {bad: 'yes'}}}]}}
        status: {phase: Succeeded, conditions: {Activated: 'False VerdictTooLate: pod a is bad', Reconciling: 'True VerdictTooLate: pod a is bad'}}
        seen: {target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_canary_that_cannot_lose_its_labels_is_deleted() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, verdict: invalid}
        status: {phase: Succeeded}
        seen:
          canary: {available: +0s}
          pods: [{name: a, labels: {app: myapp}}]
          attempts: {labels: {last: +1m, message: 'could not take labels off Pod a: denied'}}
          target: {promotedBy: this run, rolledOut: false}
        now: +1m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Succeeded 0s/15m0s
            Activated=False VerdictTooLate: spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: could not take labels off Pod a: denied
            Reconciling=True VerdictTooLate: spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses) (since +0s)
            verdicts {"present":{"verdict":"invalid"}}
            wake at +10m0s
        "#]],
    );
}

#[test]
fn with_rollback_the_run_fails() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}, verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false, paused: true}}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid, while Deployment myapp rolled out; the former template is put back, if the rollout history has one
            RolledBack=False Pending: Deployment myapp is about to get its former template back
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid, while Deployment myapp rolled out; the former template is put back, if the rollout history has one; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, promotedHash of t2, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn with_rollback_the_target_is_read_before_the_run_fails() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}, verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}, targetConfirmed: false}
        now: +1m
        ",
        expect![[r#"
            read Target
        "#]],
    );
}

#[test]
fn a_verdict_of_an_earlier_run_does_nothing_while_the_target_rolls_out() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {rollbackOnFailure: true}, verdict: invalid}
        status: {phase: Succeeded, verdicts: {present: {verdict: invalid}, stale: {verdict: invalid}}}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            VerdictIgnored=True FromEarlierRun: spec.verdict invalid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            wake at +2m0s
        "#]],
    );
}

#[test]
fn a_run_that_ends_says_that_the_verdict_came_too_late() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, target: {promotedBy: this run}}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended; spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            verdicts {"present":{"verdict":"invalid"}}, promotedHash of t2, completedAt +1m0s
        "#]],
    );
}

#[test]
fn a_verdict_after_the_end_of_the_run_does_nothing() {
    check(
        "
        spec: {verdict: invalid, rollout: {rollbackOnFailure: true}}
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
fn a_template_that_was_put_back_by_hand_ends_the_run_and_the_advice() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded, conditions: {Activated: 'False VerdictTooLate: spec.verdict is invalid', Reconciling: 'True VerdictTooLate: spec.verdict is invalid'}}
        seen: {target: {promotedBy: this run, template: t1, rolledOut: false}, promotion: t2}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            Activated=False RunFailed: the run has ended (since +0s)
            Failed, Stalled=True TargetChanged: Deployment myapp was updated, and somebody replaced its template before it had rolled out; set spec.retry to another number to run again
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s
        "#]],
    );
}

#[test]
fn a_target_that_does_not_become_available_says_both() {
    check(
        "
        spec: {verdict: invalid}
        status: {phase: Succeeded}
        seen: {target: {promotedBy: this run, rolledOut: false, progressFailed: true}}
        now: +1m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Activated=False VerdictTooLate: spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Reconciling=False TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            Stalled=True TargetNotAvailable: Deployment myapp was updated and did not become available within 10m0s; spec.verdict is invalid, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
            verdicts {"present":{"verdict":"invalid"}}, promotedHash of t2
        "#]],
    );
}

#[test]
fn a_canary_that_leaves_does_not_wait_for_the_ownership_of_fields() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, verdict: invalid}
        status: {phase: Succeeded, conditions: {Activated: 'False VerdictTooLate: spec.verdict is invalid', Traffic: 'False VerdictTooLate: left', Reconciling: 'True VerdictTooLate: spec.verdict is invalid'}}
        seen:
          canary: {available: +0s}
          pods: [{name: a, labels: {app: myapp}}]
          target: {promotedBy: this run, rolledOut: false, holdsFields: true}
        now: +1m
        ",
        expect![[r#"
            unlabel pod a: app
            wake at +10m0s
        "#]],
    );
}

#[test]
fn where_the_updated_target_is_gone_nothing_has_the_template_and_the_run_fails() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, verdict: invalid}
        status: {phase: Succeeded, promotedHash: t2}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], target: null, promotion: t2}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Activated, Traffic, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn the_item_that_failed_the_run_during_the_rollout_shows_it() {
    for rollback in [true, false] {
        let text = format!(
            "
        spec: {{rollout: {{rollbackOnFailure: {rollback}}}, validation: {{items: [{{manual: {{}}}}, {{labelWatch: {{podInvalidationLabels: {{bad: 'yes'}}}}}}]}}}}
        status:
          phase: Succeeded
          items: [{{name: 'manual[0]', state: Good}}, {{name: 'labelWatch[1]', state: Good}}]
        seen:
          canary: {{available: +0s}}
          pods: [{{name: a, labels: {{bad: 'yes'}}}}]
          target: {{promotedBy: this run, rolledOut: false}}
        now: +1m
        show: [/items/0/state, /items/1/state]
        "
        );
        check(
            &text,
            if rollback {
                expect![[r#"
                    phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Activated, Reconciling
                    Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
                    Succeeded=False LabelMatched: labelWatch[1]: pod a has labels that match bad=yes, while Deployment myapp rolled out; the former template is put back, if the rollout history has one
                    RolledBack=False Pending: Deployment myapp is about to get its former template back
                    Failed, Stalled=True LabelMatched: labelWatch[1]: pod a has labels that match bad=yes, while Deployment myapp rolled out; the former template is put back, if the rollout history has one; to try again, change spec.template, or set spec.retry to another number
                    promotedHash of t2, completedAt +1m0s, failedTemplates ["<hash>"]
                    removed verdicts
                    item manual[0] Good
                    item labelWatch[1] Bad: labelWatch[1]: pod a has labels that match bad=yes
                      state: "Good"
                      state: "Bad"
                "#]]
            } else {
                expect![[r#"
                    delete Deployment myapp-kanary-batman
                    shows Succeeded 0s/15m0s
                    Activated=False VerdictTooLate: labelWatch[1]: pod a has labels that match bad=yes, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses)
                    Reconciling=True VerdictTooLate: labelWatch[1]: pod a has labels that match bad=yes, and that came after Deployment myapp was updated: the canary is taken away, and Deployment myapp keeps the template of this run; to undo that, edit its template, or run kubectl rollout undo deployment/myapp (which a paused Deployment refuses) (since +0s)
                    removed verdicts
                    item manual[0] Good
                    item labelWatch[1] Bad: labelWatch[1]: pod a has labels that match bad=yes
                      state: "Good"
                      state: "Bad"
                    wake at +10m0s
                "#]]
            },
        );
    }
}

#[test]
fn once_the_run_has_ended_its_traffic_is_not_reported_as_waiting_for_a_late_verdict() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {rollbackOnFailure: true}, verdict: invalid}
        status: {phase: Succeeded, conditions: {Activated: 'False VerdictTooLate: spec.verdict is invalid', Traffic: 'False VerdictTooLate: left', Reconciling: 'True VerdictTooLate: spec.verdict is invalid'}}
        seen: {canary: {available: +0s}, target: {promotedBy: this run, rolledOut: false}}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1m0s/15m0s, ended Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid, while Deployment myapp rolled out; the former template is put back, if the rollout history has one
            Activated, Traffic=False RunFailed: the run has ended (since +0s)
            RolledBack=False Pending: Deployment myapp is about to get its former template back
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid, while Deployment myapp rolled out; the former template is put back, if the rollout history has one; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, promotedHash of t2, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, verdict: invalid}
        status: {phase: Succeeded, conditions: {Activated: 'False VerdictTooLate: spec.verdict is invalid', Traffic: 'False VerdictTooLate: left', Reconciling: 'True VerdictTooLate: spec.verdict is invalid'}}
        seen: {target: {promotedBy: this run}}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → DeploymentUpdated, shows DeploymentUpdated 0s/15m0s
            Activated, Traffic=False DeploymentUpdated: the run has ended (since +0s)
            Reconciling=False DeploymentUpdated: the run has ended
            DeploymentUpdated=True TargetRolledOut: Deployment myapp was updated: it ran the template on all its replicas when the run ended; spec.verdict is invalid
            verdicts {"present":{"verdict":"invalid"}}, promotedHash of t2, completedAt +1m0s
        "#]],
    );
}
