//! Objects that the current run does not ask for are removed, whatever the run waits for.

use expect_test::expect;

use super::check;

#[test]
fn the_canary_of_a_former_run_does_not_wait_for_the_schedule_of_the_next() {
    check(
        "
        spec: {schedule: +1h}
        status: {phase: New}
        seen: {canary: {run: older, available: -1h}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn the_canary_of_a_former_run_goes_although_the_service_is_missing() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: New}
        seen: {service: null, canary: {run: older, available: -1h}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn the_canary_of_a_former_run_goes_although_the_target_is_gone() {
    check(
        "
        status: {phase: New}
        seen: {target: null, canary: {run: older, available: -1h}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn the_canary_of_a_former_run_goes_only_after_the_kanary_was_read() {
    check(
        "
        status: {phase: New}
        seen: {canary: {run: older, available: -1h}, confirmed: false}
        ",
        expect![[r#"
            read LiveKanary
        "#]],
    );
}

#[test]
fn a_canary_of_another_name_goes() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}, strays: [Deployment old-kanary-batman, HorizontalPodAutoscaler old-kanary-batman]}
        now: +5m
        ",
        expect![[r#"
            delete Deployment old-kanary-batman
            delete HorizontalPodAutoscaler old-kanary-batman
        "#]],
    );
}

#[test]
fn a_template_that_failed_before_does_not_retain_the_canary_of_the_run_before_it() {
    check(
        "
        spec: {rollout: {onFailure: retain}}
        status: {phase: Failed, run: 3}
        seen: {canary: {run: 0000000000000000-2, available: -1h}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s, ended Activated
            removed verdicts
        "#]],
    );
}

#[test]
fn what_cannot_be_taken_away_is_not_tried_again_at_once() {
    check(
        "
        status: {phase: New}
        seen: {canary: {run: older, available: -1h}, refusal: {retryAt: +10s}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Scheduled=True WriteRefused: the canary is not judged before this is resolved: create Deployment: no quota
            Reconciling=False WriteRefused: create Deployment: no quota
            Errored, Stalled=True WriteRefused: create Deployment: no quota
            wake at +10s
        "#]],
    );
}

#[test]
fn a_pod_that_its_replica_set_released_leaves_when_its_run_is_replaced_though_the_next_is_paused() {
    let aside = "canary: {run: older-1, available: -1h}, otherPods: [{name: aside, run: older-1, released: true, labels: {app: myapp}}]";
    for paused in [false, true] {
        check(
            &format!(
                "
                spec: {{serviceName: myapp-svc, traffic: {{source: service}}, paused: {paused}}}
                status: {{phase: New, run: 2}}
                seen: {{{aside}}}
                "
            ),
            expect![[r#"
                unlabel pod aside: app
            "#]],
        );
    }
}

#[test]
fn a_released_pod_of_no_known_run_leaves_whatever_a_service_selects_it_by() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running}
        seen:
          canary: {available: +0s}
          otherPods: [{name: aside, run: '', released: true, labels: {pod-template-hash: abc}}]
          services: {by-hash: {pod-template-hash: abc}}
        now: +1m
        ",
        expect![[r#"
            unlabel pod aside: pod-template-hash
        "#]],
    );
}

#[test]
fn a_released_pod_of_the_present_run_stays_while_it_is_judged_and_is_warned_of() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{manual: {}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, otherPods: [{name: aside, released: true, labels: {app: myapp}}]}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m0s; warning: Pod aside lost a label by which the canary selects, and was released: it is not measured any more, and leaves its Services only when the run ends: delete it (since +0s)
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_of_an_earlier_run_that_cannot_be_deleted_leaves_by_its_labels() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: New, run: 2}
        seen: {canary: {run: older, available: -1h}, otherPods: [{name: a, run: older, labels: {app: myapp}}], refusal: {retryAt: +10s}}
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn the_canarys_own_service_of_a_former_run_is_made_again_for_the_pods_of_this_one() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        status: {phase: New}
        seen:
          canary: {run: older, available: -1h}
          kanaryService: {}
          kanarySelector: {kanary.k8s-operators.dev/name: batman, kanary.k8s-operators.dev/run: older-0}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
            delete Service myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn the_canarys_own_service_of_an_older_version_of_the_controller_stays() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        status: {phase: Running}
        seen:
          canary: {available: +0s}
          pods: [{name: a}]
          kanaryService: {}
          kanarySelector:
            kanary.k8s-operators.dev/iskanary: 'true'
            kanary.k8s-operators.dev/kind: KanaryDeployment
            kanary.k8s-operators.dev/name: batman
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}
