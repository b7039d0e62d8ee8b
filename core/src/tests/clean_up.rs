//! Removal of the run's objects after its end.

use expect_test::expect;

use super::check;

#[test]
fn canary_pods_leave_the_production_service_before_the_canary_goes() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}, {name: b, labels: {app: myapp}}]}
        ",
        expect![[r#"
            unlabel pod a: app
            unlabel pod b: app
        "#]],
    );
}

#[test]
fn once_the_pods_have_left_the_canary_goes() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a}]}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn every_label_that_the_service_selects_by_is_taken_off() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}}
        status: {phase: Failed}
        seen: {service: {selector: {app: myapp, tier: web}}, canary: {}, pods: [{name: a, labels: {app: myapp, tier: web}}]}
        ",
        expect![[r#"
            unlabel pod a: app, tier
        "#]],
    );
}

#[test]
fn a_pod_that_the_service_does_not_select_is_left_as_it_is() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {}, pods: [{name: a, labels: {app: another}}]}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_failed_run_takes_the_canary_its_service_and_its_autoscaler_away() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}, scale: {hpa: {maxReplicas: 3}}}
        status: {phase: Failed}
        seen: {canary: {}, kanaryService: {}, hpa: {}}
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
            delete Deployment myapp-kanary-batman
            delete Service myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn a_successful_run_takes_the_canary_its_service_and_its_autoscaler_away() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}, scale: {hpa: {maxReplicas: 3}}}
        status: {phase: DeploymentUpdated}
        seen: {canary: {}, kanaryService: {}, hpa: {}, target: {promotedBy: this run}}
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
            delete Deployment myapp-kanary-batman
            delete Service myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn a_dry_run_takes_the_canary_away_as_well() {
    check(
        "
        spec: {validation: {noUpdate: true}}
        status: {phase: Succeeded}
        seen: {canary: {}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn after_the_clean_up_nothing_is_left_to_do() {
    check(
        "
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: this run}}
        now: +20h
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn what_is_going_already_is_not_deleted_twice() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        status: {phase: Failed}
        seen: {canary: {deleting: true}, kanaryService: {deleting: true}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn foreign_objects_are_not_deleted() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}, scale: {hpa: {maxReplicas: 3}}}
        status: {phase: Failed}
        seen: {canary: {owner: robin}, kanaryService: {owner: null}, hpa: {owner: robin}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_canary_of_an_earlier_run_goes_with_the_rest() {
    check(
        "
        status: {phase: Failed}
        seen: {canary: {run: older}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_clean_up_that_is_refused_is_an_error_and_is_tried_again() {
    check(
        "
        status: {phase: DeploymentUpdated}
        seen: {canary: {}, refusal: {reason: WriteRefused, message: 'delete Deployment: not allowed', retryAt: +10s}}
        now: +1s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True WriteRefused: delete Deployment: not allowed
            removed verdicts
            wake at +10s
        "#]],
    );
}

#[test]
fn a_refused_clean_up_is_tried_again_at_its_time() {
    check(
        "
        status: {phase: DeploymentUpdated, conditions: {Errored: 'True WriteRefused: x', Stalled: 'True WriteRefused: x'}}
        seen: {canary: {}, refusal: {retryAt: +10s}}
        now: +10s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows DeploymentUpdated 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Stalled=False Resolved: nothing is in the way any more
            removed verdicts
        "#]],
    );
}

#[test]
fn a_failed_run_whose_clean_up_works_again_stays_failed() {
    check(
        "
        status: {phase: Failed, conditions: {Errored: 'True WriteRefused: x', Stalled: 'True WriteRefused: x'}}
        seen: {canary: {}}
        now: +10s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn the_target_is_never_deleted() {
    check(
        "
        status: {phase: Failed}
        seen: {target: {createdBy: this run}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn the_canary_of_a_run_that_another_controller_has_begun_is_left_alone() {
    check(
        "
        status: {phase: Failed}
        seen: {canary: {run: 0123456789abcdef-2, available: +0s}}
        now: +1h
        ",
        expect![[r"
            nothing
        "]],
    );
}

#[test]
fn a_pod_that_was_set_aside_leaves_after_a_run_that_passed() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: DeploymentUpdated}
        seen: {canary: {available: +0s}, otherPods: [{name: aside, released: true, labels: {app: myapp}}]}
        ",
        expect![[r#"
            unlabel pod aside: app
        "#]],
    );
}

#[test]
fn a_pod_of_the_replica_set_goes_with_the_canary_after_a_run_that_passed() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: DeploymentUpdated}
        seen: {canary: {available: +0s}, otherPods: [{name: former, labels: {app: myapp, pod-template-hash: abc}}]}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_pod_that_its_replica_set_released_leaves_after_a_run_that_passed_whatever_labels_it_still_has() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: DeploymentUpdated}
        seen:
          canary: {available: +0s}
          otherPods: [{name: aside, released: true, labels: {app: myapp, pod-template-hash: edited}}]
        ",
        expect![[r#"
            unlabel pod aside: app
        "#]],
    );
}

#[test]
fn a_released_pod_that_terminates_costs_no_write_after_a_run_that_passed() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: DeploymentUpdated}
        seen:
          canary: {available: +0s}
          otherPods: [{name: aside, released: true, terminating: true, ready: false, labels: {app: myapp}}]
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}
