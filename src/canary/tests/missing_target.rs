//! A target that does not exist, or goes.

use expect_test::expect;

use super::check;

#[test]
fn a_missing_target_is_created_from_the_template_and_belongs_to_nobody() {
    check(
        "
        spec: {template: {metadata: {labels: {team: heroes}, annotations: {note: hi}}, spec: {replicas: 4}}}
        seen: {target: null}
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
        seen: {target: null}
        show: [/spec/selector]
        ",
        expect![[r#"
            create Deployment myapp
              selector: {"matchLabels":{"app":"myapp","tier":"web"}}
        "#]],
    );
}

#[test]
fn a_run_that_created_its_target_only_waits_for_it_to_be_available() {
    check(
        "
        seen: {target: {createdBy: this run, rolledOut: false, created: +0s}}
        now: +5s
        ",
        expect![[r#"
            phase Scheduled → Running
            Scheduled=True TargetCreated: the target did not exist and was created
            Running=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            Reconciling=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            currentTraffic none
            startTime +0s
            shows Running 0s/15m0s
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_created_is_running_before_it_succeeds() {
    check(
        "
        seen: {target: {createdBy: this run, created: +0s, available: +5s}}
        now: +5s
        ",
        expect![[r#"
            phase Scheduled → Running
            Scheduled=True TargetCreated: the target did not exist and was created
            Running=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            Reconciling=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            currentTraffic none
            startTime +0s
            shows Running 0s/15m0s
            wake at +10m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_created_and_is_available_ends_the_run_well() {
    check(
        "
        status: {currentHash: '<this>', conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, created: +0s, available: +5s}}
        now: +5s
        ",
        expect![[r#"
            phase Running → Succeeded
            Running=False TargetCreated: the target is available
            Scheduled=True TargetCreated: the target did not exist and was created
            Succeeded=True TargetCreated: Deployment myapp did not exist, was created from the template and is available
            currentTraffic none
            startTime +0s
            availableAt +5s
            shows Succeeded 0s/15m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_created_and_does_not_become_available_fails_the_run() {
    check(
        "
        status: {currentHash: '<this>', conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, created: +0s, rolledOut: false}}
        now: +10m
        ",
        expect![[r#"
            phase Running → Failed
            Running=False RunFailed: the run has ended
            Failed=True ProgressDeadlineExceeded: Deployment myapp was created and did not become available within 10m0s
            Stalled=True ProgressDeadlineExceeded: Deployment myapp was created and did not become available within 10m0s
            currentTraffic none
            completedAt +10m0s
            failedTemplates ["<hash>"]
            shows Failed 0s/15m0s
        "#]],
    );
}

#[test]
fn a_target_that_was_created_and_that_the_cluster_gave_up_fails_the_run_at_once() {
    check(
        "
        spec: {rollout: {progressDeadline: 1h}}
        seen: {target: {createdBy: this run, created: +0s, rolledOut: false, progressFailed: true}}
        now: +10m
        ",
        expect![[r#"
            phase Scheduled → Failed
            Failed=True ProgressDeadlineExceeded: Deployment myapp was created and did not become available within 1h0m0s
            Stalled=True ProgressDeadlineExceeded: Deployment myapp was created and did not become available within 1h0m0s
            currentTraffic none
            completedAt +10m0s
            failedTemplates ["<hash>"]
            shows Failed 0s/15m0s
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
            Errored=True TargetNotFound: Deployment myapp does not exist, and a dry-run does not create it: create it first
            Stalled=True TargetNotFound: Deployment myapp does not exist, and a dry-run does not create it: create it first
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none
            shows Errored 0s/15m0s
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
            Errored=True TargetNotFound: Deployment myapp is being deleted
            Stalled=True TargetNotFound: Deployment myapp is being deleted
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none
            shows Errored 0s/15m0s
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
            Reconciling=False TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary
            Errored=True TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary
            Stalled=True TargetNotFound: Deployment myapp is gone: create it again, or delete this Kanary
            shows Errored 1m0s/15m0s
            wake at +15m0s
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
            Errored=False Mended
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            Stalled=False Mended
            shows Running 1m0s/15m0s
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_target_that_is_missing_is_created_even_if_the_canary_of_an_earlier_run_is_still_there() {
    check(
        "
        status: {phase: New}
        seen: {target: null, canary: {run: older}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}
