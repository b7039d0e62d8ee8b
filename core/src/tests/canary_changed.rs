//! Changes of the canary by other clients: what is validated is then no longer the template.

use expect_test::expect;

use super::check;

/// A run that would pass now if its canary were unchanged.
fn at_the_deadline(canary: &str, more: &str) -> String {
    format!(
        "
        spec: {{validation: {{items: [{{labelWatch: {{podInvalidationLabels: {{a: b}}}}}}]}}}}
        status: {{phase: Running}}
        seen: {{canary: {{available: +0s, {canary}}}, {more}}}
        now: +15m
        "
    )
}

#[test]
fn another_template_than_the_api_server_answered_fails_the_run() {
    check(
        &at_the_deadline("template: edited, versions: unknown", "created: {}"),
        expect![[r#"
            phase Running → Failed, shows Failed 15m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True CanaryChanged: the pod template of Deployment myapp-kanary-batman was changed after its creation, so it no longer runs spec.template: leave the canary alone, and set spec.retry to another number to run the template again
            completedAt +15m0s
        "#]],
    );
}

#[test]
fn another_template_than_the_status_remembers_fails_the_run() {
    check(
        &at_the_deadline("template: edited, versions: unknown", ""),
        expect![[r#"
            phase Running → Failed, shows Failed 15m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True CanaryChanged: the pod template of Deployment myapp-kanary-batman was changed after its creation, so it no longer runs spec.template: leave the canary alone, and set spec.retry to another number to run the template again
            completedAt +15m0s
        "#]],
    );
}

#[test]
fn a_canary_of_several_versions_fails_the_run_though_it_has_its_first_template_again() {
    check(
        &at_the_deadline("versions: several", ""),
        expect![[r#"
            phase Running → Failed, shows Failed 15m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True CanaryChanged: the pod template of Deployment myapp-kanary-batman was changed after its creation, so it no longer runs spec.template: leave the canary alone, and set spec.retry to another number to run the template again
            completedAt +15m0s
        "#]],
    );
}

#[test]
fn a_pod_whose_image_was_changed_in_place_fails_the_run() {
    check(
        &at_the_deadline("versions: one", "pods: [{name: x-1}, {name: x-2, edited: true}]"),
        expect![[r#"
            phase Running → Failed, shows Failed 15m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True CanaryChanged: an image of pod x-2 of Deployment myapp-kanary-batman was changed in place, so it no longer runs spec.template: leave the canary alone, and set spec.retry to another number to run the template again
            completedAt +15m0s
        "#]],
    );
}

#[test]
fn what_webhooks_and_defaults_made_of_the_template_is_no_change() {
    check(
        &at_the_deadline("template: mutated, versions: unknown", "created: {template: mutated}"),
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
        "#]],
    );
}

#[test]
fn a_new_number_of_replicas_is_no_change() {
    check(
        &at_the_deadline("replicas: 1, versions: unknown", ""),
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
        "#]],
    );
}

#[test]
fn the_deployment_controller_knows_better_than_a_hash_that_another_version_of_kanary_stored() {
    check(
        &at_the_deadline("template: hashed otherwise, versions: one", ""),
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
        "#]],
    );
}

#[test]
fn a_canary_that_may_have_been_changed_is_not_promoted() {
    check(
        "
        spec: {validation: {items: [{labelWatch: {podInvalidationLabels: {a: b}}}]}}
        status: {phase: Running, canaryHash: null, canaryUid: null}
        seen: {canary: {available: +0s, versions: unknown}}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Reconciling=True WaitingForCanary: Deployment myapp-kanary-batman is not available, so it cannot pass: the run waits until it is (since +0s)
        "#]],
    );
}

#[test]
fn a_canary_that_may_have_been_changed_is_not_judged() {
    check(
        "seen: {canary: {available: +0s, versions: unknown}}",
        expect![[r#"
        nothing
    "#]],
    );
}

#[test]
fn a_canary_that_was_changed_before_it_was_judged_fails_the_run() {
    check(
        "seen: {canary: {template: edited, versions: untouched}, created: {}}",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True CanaryChanged: the pod template of Deployment myapp-kanary-batman was changed after its creation, so it no longer runs spec.template: leave the canary alone, and set spec.retry to another number to run the template again
            currentTraffic none, completedAt +0s
        "#]],
    );
}

#[test]
fn a_template_that_a_user_changed_is_remembered_as_the_run_knew_it() {
    check(
        "
        seen: {canary: {available: +0s, template: mutated}, created: {template: mutated}}
        show: [/canaryHash, /canaryUid, /availableSince]
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            currentTraffic none, initialDelay 0s, validationPeriod 15m0s, startTime -30s, availableAt +0s, validationStartTime +0s, deadline +15m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
              canaryHash: "mutated"
              canaryUid: "uid-canary"
              availableSince: "2026-01-01T12:00:00Z"
        "#]],
    );
}

#[test]
fn a_canary_that_was_changed_leaves_production_also_after_another_run_began() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: New, run: 2}
        seen: {canary: {run: older-1, versions: several}, otherPods: [{name: former, run: older-1, labels: {app: myapp}}]}
        ",
        expect![[r#"
            unlabel pod former: app
        "#]],
    );
}
