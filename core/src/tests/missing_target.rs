//! A target that does not exist or is deleted.

use expect_test::expect;

use super::check;

#[test]
fn a_missing_target_is_created_from_the_template_without_an_owner() {
    check(
        "
        spec: {template: {metadata: {labels: {team: heroes}, annotations: {note: hi}}, spec: {replicas: 4}}}
        seen: {target: null, missingSince: -30s}
        show: [/metadata/labels, /metadata/annotations, /metadata/ownerReferences, /spec/replicas, /spec/selector]
        ",
        expect![[r#"
            create Deployment myapp
              labels: {"team":"heroes"}
              annotations: {"…/created-by":"uid-batman/<hash>-1","kubernetes.io/change-cause":"created by KanaryDeployment/shop/batman","note":"hi"}
              replicas: 4
              selector: {"matchLabels":{"app":"myapp"}}
        "#]],
    );
}

#[test]
fn a_missing_target_keeps_the_selector_that_the_user_wrote() {
    check(
        "
        spec: {template: {spec: {selector: {matchLabels: {app: myapp, tier: web}}}}}
        seen: {target: null, missingSince: -30s}
        show: [/spec/selector]
        ",
        expect![[r#"
            create Deployment myapp
              selector: {"matchLabels":{"app":"myapp","tier":"web"}}
        "#]],
    );
}

#[test]
fn a_dry_run_does_not_create_a_missing_target() {
    check(
        "
        spec: {validation: {noUpdate: true}}
        seen: {target: null}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetNotFound: Deployment myapp does not exist, and a dry-run does not create it: create it first
            Scheduled=True TargetNotFound: the canary is not judged before this is resolved: Deployment myapp does not exist, and a dry-run does not create it: create it first
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_target_that_is_being_deleted_is_not_replaced() {
    check(
        "
        seen: {target: {deleting: true}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetNotFound: Deployment myapp is being deleted
            Scheduled=True TargetNotFound: the canary is not judged before this is resolved: Deployment myapp is being deleted
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_target_that_goes_after_the_run_started_is_not_created_anew() {
    check(
        "
        status: {phase: Running}
        seen: {target: null, canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Reconciling=False TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary
            Errored, Stalled=True TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_serves_alone_because_the_target_is_gone_is_reported() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running}
        seen: {target: null, canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}]}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic=True TrafficSet: the canary gets traffic from source service (since +0s)
            Reconciling=False TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary; until then the canary alone gets the requests of Service myapp-svc
            Errored, Stalled=True TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary; until then the canary alone gets the requests of Service myapp-svc
            wake at +15m0s
        "#]],
    );
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Succeeded}
        seen: {target: null, canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}]}
        now: +15m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False TargetNotFound: Deployment myapp is gone, so it cannot be updated: create it again; until then the canary alone gets the requests of Service myapp-svc
            Errored, Stalled=True TargetNotFound: Deployment myapp is gone, so it cannot be updated: create it again; until then the canary alone gets the requests of Service myapp-svc
            removed verdicts
        "#]],
    );
}

#[test]
fn a_target_that_comes_back_as_it_was_lets_the_run_go_on() {
    check(
        "
        status:
          phase: Running
          conditions: {Errored: 'True TargetNotFound: gone', Stalled: 'True TargetNotFound: gone', Reconciling: 'False TargetNotFound: gone'}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            Stalled=False Resolved: nothing is in the way any more
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_target_that_is_missing_is_created_even_if_the_canary_of_an_earlier_run_is_still_there() {
    check(
        "
        status: {phase: New}
        seen: {target: null, missingSince: -30s, canary: {run: older}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_target_that_is_missing_is_read_before_its_absence_counts() {
    check(
        "
        seen: {target: null}
        ",
        expect![[r#"
            read MissingTarget
        "#]],
    );
}

#[test]
fn a_target_that_has_been_missing_for_a_moment_is_waited_for() {
    check(
        "
        seen: {target: null, missingSince: +0s}
        now: +1s
        ",
        expect![[r#"
            wake at +5s
        "#]],
    );
}

#[test]
fn a_target_that_has_been_missing_for_some_seconds_is_reported() {
    check(
        "
        seen: {target: null, missingSince: +0s}
        now: +5s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForTarget: Deployment myapp does not exist: if nobody creates it, it is created from the template at +30s; set spec.rollout.onTargetMissing to wait to prevent that
            currentTraffic none
            wake at +30s
        "#]],
    );
}

#[test]
fn a_target_is_read_once_more_before_it_is_created() {
    check(
        "
        seen: {target: null, missingSince: +0s, confirmed: false}
        now: +30s
        ",
        expect![[r#"
            read MissingTarget
        "#]],
    );
}

#[test]
fn a_target_that_was_missing_before_a_pause_is_waited_for_anew() {
    check(
        "
        status: {resumedAt: +1h}
        seen: {target: null, missingSince: +0s}
        now: +1h0m20s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForTarget: Deployment myapp does not exist: if nobody creates it, it is created from the template at +1h0m30s; set spec.rollout.onTargetMissing to wait to prevent that
            currentTraffic none
            wake at +1h0m30s
        "#]],
    );
}

#[test]
fn how_long_a_target_must_have_been_missing_can_be_set() {
    check(
        "
        spec: {rollout: {createTargetAfter: 1s}}
        seen: {target: null, missingSince: +0s}
        now: +1s
        ",
        expect![[r#"
            create Deployment myapp
        "#]],
    );
}

#[test]
fn the_creation_of_a_target_can_be_switched_off() {
    check(
        "
        spec: {rollout: {onTargetMissing: wait}}
        seen: {target: null, missingSince: +0s}
        now: +1h
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetNotFound: Deployment myapp does not exist and is not created, because spec.rollout.onTargetMissing is wait: create it
            Scheduled=True TargetNotFound: the canary is not judged before this is resolved: Deployment myapp does not exist and is not created, because spec.rollout.onTargetMissing is wait: create it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_target_that_comes_while_it_is_waited_for_starts_an_ordinary_run() {
    check(
        "
        status: {conditions: {Scheduled: 'True WaitingForTarget: x', Reconciling: 'True WaitingForTarget: x'}}
        seen: {target: {template: t7, rolledOut: false}}
        now: +10s
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            shows Scheduled 0s/15m0s
            Reconciling, Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available (since +0s)
            currentTraffic none
        "#]],
    );
}
