//! Activation: creation of the canary and the objects that it needs.

use expect_test::expect;

use super::check;

#[test]
fn the_canary_is_named_after_the_target_and_the_kanary() {
    check(
        "
        spec: {}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn everything_created_carries_the_two_labels_and_an_owner_reference_to_the_kanary() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}, scale: {hpa: {maxReplicas: 3}}}
        show: [/metadata/labels, /metadata/ownerReferences]
        ",
        expect![[r#"
            create Service myapp-svc-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/slot":"ac"}
              ownerReferences: [{"apiVersion":"…/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"KanaryDeployment","name":"batman","uid":"uid-batman"}]
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
              ownerReferences: [{"apiVersion":"…/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"KanaryDeployment","name":"batman","uid":"uid-batman"}]
            create HorizontalPodAutoscaler myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/slot":"ac"}
              ownerReferences: [{"apiVersion":"…/v1alpha1","blockOwnerDeletion":true,"controller":true,"kind":"KanaryDeployment","name":"batman","uid":"uid-batman"}]
        "#]],
    );
}

#[test]
fn the_selector_of_the_canary_is_its_own_and_never_the_targets() {
    check(
        "
        spec: {}
        show: [/spec/selector, /spec/template/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              selector: {"matchLabels":{"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1"}}
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
        "#]],
    );
}

#[test]
fn the_canary_runs_the_template_as_it_was_written() {
    check(
        "
        spec: {template: {spec: {minReadySeconds: 5, template: {metadata: {annotations: {a: b}}}}}}
        show: [/spec/template/spec, /spec/template/metadata/annotations, /spec/minReadySeconds]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              spec: {"containers":[{"image":"myapp:v2","name":"myapp"}]}
              annotations: {"a":"b"}
              minReadySeconds: 5
        "#]],
    );
}

#[test]
fn a_paused_template_does_not_make_a_paused_canary() {
    check(
        "
        spec: {template: {spec: {paused: true}}}
        show: [/spec/paused]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn the_target_defaults_to_the_name_of_the_template() {
    check(
        "
        spec: {deploymentName: null, template: {metadata: {name: shopfront}}}
        ",
        expect![[r#"
            create Deployment shopfront-kanary-batman
        "#]],
    );
}

#[test]
fn the_target_defaults_to_the_name_of_the_kanary_at_last() {
    check(
        "
        spec: {deploymentName: ''}
        ",
        expect![[r#"
            create Deployment batman-kanary-batman
        "#]],
    );
}

#[test]
fn a_created_canary_that_is_not_available_yet_needs_no_word() {
    check(
        "
        seen: {canary: {}}
        now: +1m
        ",
        expect![[r#"
            wake at +9m30s
        "#]],
    );
}

#[test]
fn a_canary_that_is_not_available_within_the_progress_deadline_fails_the_run() {
    check(
        "
        seen: {canary: {created: +0s}}
        now: +10m
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp-kanary-batman did not become available within 10m0s: it has no pods; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +10m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn before_a_canary_fails_for_not_being_available_it_is_read_live() {
    check(
        "
        seen: {canary: {created: +0s}, confirmed: false}
        now: +10m
        ",
        expect![[r#"
            read LiveCanary
        "#]],
    );
}

#[test]
fn before_a_canary_of_another_template_is_taken_away_the_kanary_is_read_live() {
    check(
        "
        seen: {canary: {created: +0s, run: other}, confirmed: false}
        now: +10s
        ",
        expect![[r#"
            read LiveKanary
        "#]],
    );
}

#[test]
fn a_progress_deadline_of_the_users_own_counts_from_the_creation_of_the_canary() {
    check(
        "
        spec: {rollout: {progressDeadline: 30s}}
        seen: {canary: {created: +0s}}
        now: +29s
        ",
        expect![[r#"
            wake at +30s
        "#]],
    );
}

#[test]
fn a_canary_that_stops_being_available_has_the_progress_deadline_to_come_back() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {unavailable: +1m}}
        now: +2m
        ",
        expect![[r#"
            wake at +11m0s
        "#]],
    );
}

#[test]
fn a_canary_that_stops_being_available_and_does_not_come_back_fails_the_run() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {unavailable: +1m}}
        now: +11m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 11m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp-kanary-batman was not available for 10m0s: it has no pods; to try again, change spec.template, or set spec.retry to another number
            completedAt +11m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_canary_that_a_user_deleted_is_created_again_with_the_hash_of_the_start() {
    check(
        "
        status: {phase: Running}
        seen: {target: {}}
        show: [/metadata/annotations]
        now: +1m
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              annotations: {"…/target-template-hash":"85924a836eb2db86","…/traffic":"none"}
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_is_being_deleted_is_not_made_again_before_it_is_gone() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {deleting: true}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_remembers_what_the_target_ran_when_the_run_started() {
    check(
        "
        seen: {target: {template: t7}}
        show: [/metadata/annotations]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              annotations: {"…/target-template-hash":"4c9b08e68508ae7c","…/traffic":"none"}
        "#]],
    );
}

#[test]
fn the_workload_of_an_earlier_run_is_deleted_before_the_new_one_is_created() {
    check(
        "
        status: {phase: New}
        seen: {canary: {run: older, available: -1h}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn an_earlier_workload_that_is_still_going_is_waited_for() {
    check(
        "
        status: {phase: New}
        seen: {canary: {run: older, available: -1h, deleting: true}}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
        "#]],
    );
}

#[test]
fn a_kanary_that_is_being_deleted_does_nothing() {
    check(
        "
        kanary: {deletionTimestamp: +0s}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_canary_that_was_made_again_has_its_progress_deadline_too() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {created: +1m}}
        now: +11m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 11m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp-kanary-batman was not available for 10m0s: it has no pods; to try again, change spec.template, or set spec.retry to another number
            completedAt +11m0s, failedTemplates ["<hash>"]
        "#]],
    );
}
