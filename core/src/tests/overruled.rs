//! Changes by other clients are respected: reverted promotions, edited specs, and objects with the same name.

use expect_test::expect;

use super::check;

#[test]
fn a_promotion_that_was_undone_is_not_made_again() {
    check(
        "
        status: {phase: Succeeded}
        seen: {live: {}, promotion: t2}
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
fn a_promotion_that_was_undone_is_not_made_again_by_another_controller() {
    check(
        "
        status: {phase: Succeeded}
        seen: {live: {wasPromoted: true}, promotion: unknown, likeness: other}
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
fn a_controller_that_does_not_know_whether_it_promoted_promotes_if_the_history_shows_no_promotion() {
    check(
        "
        status: {phase: Succeeded}
        seen: {live: {}, promotion: unknown}
        now: +16m
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn a_template_of_another_user_over_the_promoted_one_does_not_count_as_updated() {
    check(
        "
        status: {phase: Succeeded}
        seen: {target: {template: t3, promotedBy: this run, rolledOut: true}, promotion: t2}
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
fn a_target_that_was_updated_long_after_the_verdict_has_its_whole_deadline() {
    check(
        "
        status: {phase: Succeeded}
        seen: {target: {template: t2, promotedBy: this run, rolledOut: false}, promotion: t2, promotedAt: +2h}
        now: +2h
        ",
        expect![[r#"
            wake at +2h10m0s
        "#]],
    );
}

#[test]
fn without_a_former_template_in_the_history_it_is_not_read_again() {
    check(
        "
        spec: {rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, promotedHash: t2, conditions: {Failed: 'True TargetNotAvailable: x', Stalled: 'True TargetNotAvailable: x', RolledBack: 'False NoFormerTemplate: x'}}
        seen: {target: {promotedBy: this run}}
        now: +30m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn before_a_canary_passes_it_is_read_live() {
    check(
        "
        spec: {validation: {items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, confirmed: false}
        now: +15m
        ",
        expect![[r#"
            read LiveCanary
        "#]],
    );
}

#[test]
fn a_schedule_that_is_edited_once_the_canary_is_there_holds_nothing() {
    check(
        r#"
        spec: {schedule: +1h, validation: {items: [{labelWatch: {podInvalidationLabels: {bad: "yes"}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {bad: "yes"}}]}
        now: +5m
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 5m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True LabelMatched: labelWatch[0]: pod x has labels that match bad=yes; to try again, change spec.template, or set spec.retry to another number
            completedAt +5m0s, failedTemplates ["<hash>"]
            item labelWatch[0] Bad: labelWatch[0]: pod x has labels that match bad=yes
        "#]],
    );
}

#[test]
fn an_autoscaler_of_a_former_spec_goes() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}, hpa: {}}
        now: +5m
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_service_of_a_former_spec_goes() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}, strays: [old-service]}
        now: +5m
        ",
        expect![[r#"
            delete Service old-service
        "#]],
    );
}

#[test]
fn a_service_of_a_former_spec_goes_after_the_run_at_the_latest() {
    check(
        "
        status: {phase: DeploymentUpdated}
        seen: {strays: [old-service]}
        now: +20m
        ",
        expect![[r#"
            delete Service old-service
        "#]],
    );
}

#[test]
fn the_canary_of_a_deleted_kanary_of_the_same_name_is_waited_for() {
    check(
        "
        seen: {canary: {owner: uid-former, ownerName: KanaryDeployment/batman, run: former}}
        now: +0s
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn the_canary_of_another_kind_of_kanary_of_the_same_name_is_not_taken_over() {
    check(
        "
        seen: {canary: {owner: uid-other, ownerName: KanaryStatefulset/batman, run: other}}
        now: +0s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and belongs to KanaryStatefulset/batman, not to this Kanary: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Deployment myapp-kanary-batman exists and belongs to KanaryStatefulset/batman, not to this Kanary: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_canary_is_available_only_as_a_whole() {
    check(
        "
        spec: {template: {spec: {strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 1}}}}}
        now: +0s
        show: [/spec/strategy]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              strategy: {"rollingUpdate":{"maxSurge":1,"maxUnavailable":0},"type":"RollingUpdate"}
        "#]],
    );
}
