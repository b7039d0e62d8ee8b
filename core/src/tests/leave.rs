//! A failed canary is removed from production, whatever else fails.

use expect_test::expect;

use super::check;

#[test]
fn a_failed_canary_leaves_every_service_that_selects_it() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp, zone: east}}], services: {former: {zone: east}, other: {zone: west}}}
        ",
        expect![[r#"
            unlabel pod a: app, zone
        "#]],
    );
}

#[test]
fn a_failed_canary_whose_labels_cannot_be_taken_off_is_deleted_at_once() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s, message: 'could not take labels off Pod a: denied'}}}
        now: +1s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: could not take labels off Pod a: denied (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn one_call_that_failed_is_enough_where_the_canary_is_to_be_deleted_anyway() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {refused: false, last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_retained_canary_whose_labels_cannot_be_taken_off_is_scaled_to_0() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_retained_canary_is_not_scaled_away_for_one_call_that_failed() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {refused: false, last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            wake at +1.5s
        "#]],
    );
}

#[test]
fn the_labels_of_a_retained_canary_are_tried_again_after_half_a_second() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {refused: false, last: +1s}}}
        now: +2s
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn a_retained_canary_is_scaled_to_0_after_three_calls_that_failed() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {refused: false, times: 3, last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_retained_canary_is_scaled_to_0_after_a_call_that_took_too_long() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {refused: false, first: +0s, last: +5s}}}
        now: +5s
        ",
        expect![[r#"
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_canary_that_cannot_be_deleted_is_scaled_to_0() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s}, deletion: {last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_retained_canary_that_cannot_be_scaled_is_deleted() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s}, scale: {last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_canary_that_cannot_leave_in_any_way_is_reported_and_retried_within_seconds() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s}, deletion: {last: +2s}, scale: {last: +2s}}}
        now: +2s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Stalled=True CanaryStillServing: Pod a still gets production requests though it should get none, and this is tried again every few seconds: no labels; no deletion; no scale (since +0s)
            Errored=True CanaryStillServing: Pod a still gets production requests though it should get none, and this is tried again every few seconds: no labels; no deletion; no scale
            removed verdicts
            wake at +6s
        "#]],
    );
}

#[test]
fn after_seconds_the_labels_are_tried_again_first() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s}, deletion: {last: +2s}, scale: {last: +2s}}}
        now: +6s
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn pods_whose_deployment_is_going_are_given_time_to_terminate() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {deleting: true}, pods: [{name: a, labels: {app: myapp}}], attempts: {labels: {last: +1s, message: denied}}}
        now: +2s
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: denied (since +0s)
            removed verdicts
            wake at +6s
        "#]],
    );
}

#[test]
fn pods_that_do_not_terminate_are_reported() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: null, pods: [{name: a, labels: {app: myapp}}, {name: b, labels: {app: myapp}}], attempts: {labels: {last: +1s, message: denied}}}
        now: +7s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: denied (since +0s)
            Stalled=True CanaryStillServing: Pod a and 1 more still get production requests though they should get none, and this is tried again every few seconds: denied (since +0s)
            Errored=True CanaryStillServing: Pod a and 1 more still get production requests though they should get none, and this is tried again every few seconds: denied
            removed verdicts
            wake at +31s
        "#]],
    );
}

#[test]
fn pods_that_are_terminating_get_no_requests() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: null, pods: [{name: a, ready: false, labels: {app: myapp}}], attempts: {labels: {last: +1s, message: denied}}}
        now: +7s
        ",
        expect![[r#"
            shows Failed 0s/15m0s
            Traffic=False LeftByDeletion: Deployment myapp-kanary-batman was deleted, because its pods could not leave production by their labels: denied (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn a_refusal_from_before_the_verdict_delays_no_canary_that_leaves() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], refusal: {retryAt: +5m}}
        now: +1s
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn a_pod_of_a_former_run_leaves_with_the_others() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, otherPods: [{name: former, run: other-0, labels: {app: myapp}}]}
        ",
        expect![[r#"
            unlabel pod former: app
        "#]],
    );
}

#[test]
fn a_pod_of_a_run_that_another_controller_has_begun_is_left_alone() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Failed}
        seen: {otherPods: [{name: later, run: other-2, labels: {app: myapp}}]}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn retain_keeps_the_canary_of_this_run_and_no_other() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {run: older-0, available: -1h}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s, ended Activated
            removed verdicts
        "#]],
    );
}

#[test]
fn labels_by_which_a_pod_belongs_to_its_replica_set_stay_on_it() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {pod-template-hash: 5f}}], services: {by-hash: {pod-template-hash: 5f}}}
        ",
        expect![[r#"
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: its pods have no label that can be taken off
            removed verdicts
        "#]],
    );
}

#[test]
fn before_a_retained_canary_counts_as_out_its_pods_are_read_live() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, podsConfirmed: false}
        ",
        expect![[r#"
            read LivePods
        "#]],
    );
}

#[test]
fn a_canary_that_failed_leaves_also_after_another_run_began() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, paused: true}
        status: {phase: Running, run: 2, failedTemplates: [aaaa]}
        seen: {canary: {run: aaaa-1}, otherPods: [{name: a, run: aaaa-1, labels: {app: myapp}}, {name: b, run: bbbb-1, labels: {app: myapp}}]}
        now: +1s
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn a_canary_that_failed_and_cannot_leave_by_its_labels_is_deleted_also_after_another_run_began() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, schedule: +1h}
        status: {phase: New, run: 2, failedTemplates: [aaaa]}
        seen: {canary: {run: aaaa-1}, otherPods: [{name: a, run: aaaa-1, labels: {app: myapp}}], attempts: {labels: {last: +1s}}}
        now: +1s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_canary_leaves_before_the_former_template_is_put_back() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {rollbackOnFailure: true}}
        status: {phase: Failed, conditions: {Failed: 'True TargetNotAvailable: x'}}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], target: {promotedBy: this run}}
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}
