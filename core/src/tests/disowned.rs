//! A canary without an ownerReference still belongs to its Kanary, as long as its uid is known.

use expect_test::expect;

use super::check;

/// A canary with the labels of its Kanary and without an owner.
const DISOWNED: &str = "owner: null, labels: {kanary.k8s-operators.dev/iskanary: 'true', \
                        kanary.k8s-operators.dev/name: batman, kanary.k8s-operators.dev/kind: KanaryDeployment}";

/// A run in progress with such a canary.
fn running(canary: &str) -> String {
    format!("{{status: {{phase: Running}}, seen: {{canary: {{available: +0s, {canary}}}}}, now: +5m}}")
}

#[test]
fn a_canary_whose_owner_reference_was_removed_fails_the_run() {
    check(
        &running(DISOWNED),
        expect![[r#"
            phase Running → Failed, shows Failed 5m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True CanaryChanged: the ownerReference by which this Kanary controls Deployment myapp-kanary-batman was removed, so the canary would outlive this Kanary: leave the canary alone, and set spec.retry to another number to run the template again
            completedAt +5m0s
        "#]],
    );
}

#[test]
fn one_that_was_just_created_is_known_by_the_reply() {
    check(
        &format!("seen: {{canary: {{{DISOWNED}}}, created: {{}}}}"),
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True CanaryChanged: the ownerReference by which this Kanary controls Deployment myapp-kanary-batman was removed, so the canary would outlive this Kanary: leave the canary alone, and set spec.retry to another number to run the template again
            currentTraffic none, completedAt +0s
        "#]],
    );
}

#[test]
fn a_deployment_that_only_has_the_labels_is_left_alone() {
    check(
        &format!("seen: {{canary: {{{DISOWNED}}}, created: {{uid: uid-another}}}}"),
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Deployment myapp-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_deployment_with_the_labels_of_another_kanary_is_left_alone() {
    check(
        &running(&DISOWNED.replace("batman", "robin")),
        expect![[r#"
            shows Errored 5m0s/15m0s
            Reconciling=False NameTaken: Deployment myapp-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_another_controller_owns_now_is_left_alone() {
    check(
        &running(&format!("{DISOWNED}, controller: Application/shop")),
        expect![[r#"
            shows Errored 5m0s/15m0s
            Reconciling=False NameTaken: Deployment myapp-kanary-batman exists and belongs to Application/shop, not to this Kanary: rename one of the two, or delete it
            Errored, Stalled=True NameTaken: Deployment myapp-kanary-batman exists and belongs to Application/shop, not to this Kanary: rename one of the two, or delete it
            wake at +15m0s
        "#]],
    );
}

#[test]
fn it_goes_after_a_run_that_failed() {
    check(
        &format!("{{status: {{phase: Failed}}, seen: {{canary: {{available: +0s, {DISOWNED}}}}}}}"),
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn it_is_retained_out_of_traffic_after_a_run_that_failed() {
    check(
        &format!(
            "
            spec: {{serviceName: myapp-svc, traffic: {{source: service}}, rollout: {{onFailure: retain}}}}
            status: {{phase: Failed}}
            seen: {{canary: {{available: +0s, {DISOWNED}}}, pods: [{{name: x-1, labels: {{app: myapp}}}}]}}
            "
        ),
        expect![[r#"
            unlabel pod x-1: app
        "#]],
    );
}

#[test]
fn it_goes_after_a_run_that_passed() {
    check(
        &format!("{{status: {{phase: DeploymentUpdated}}, seen: {{canary: {{available: +0s, {DISOWNED}}}}}}}"),
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn one_that_was_retained_goes_when_the_next_run_begins() {
    check(
        &format!(
            "
            status: {{phase: New, run: 2, canaryUid: uid-canary}}
            seen: {{canary: {{run: older-1, available: -1h, {DISOWNED}}}}}
            "
        ),
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn the_next_run_still_knows_the_canary_of_the_former() {
    check(
        "
        spec: {retry: 1}
        status: {phase: Failed, retry: 0, canaryUid: uid-canary}
        show: [/canaryUid]
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.retry changed: a new run starts
            Reconciling=True NewRun: a new run starts
            run 2, retry 1
            removed Activated, Traffic, Running, Failed, Stalled, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
              canaryUid: "uid-canary"
        "#]],
    );
}

#[test]
fn it_goes_with_a_kanary_that_is_being_deleted_and_held_by_a_finalizer() {
    check(
        &format!(
            "
            kanary: {{deletionTimestamp: +0s, finalizers: [example.com/hold]}}
            status: {{phase: Running}}
            seen: {{canary: {{available: +0s, {DISOWNED}}}}}
            "
        ),
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Deleting 0s/15m0s
            Activated=False Deleting: this Kanary is being deleted
            Running=True Deleting: this Kanary is being deleted, so its canary is not judged any more
            Reconciling=True Deleting: this Kanary is being deleted and is held by its finalizers (example.com/hold): its canary is taken away, and Deployment myapp stays as it is
        "#]],
    );
}
