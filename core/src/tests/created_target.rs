//! A target after a run created it because it was missing.

use expect_test::expect;

use super::check;

#[test]
fn a_run_that_created_its_target_only_waits_for_it_to_be_available() {
    check(
        "
        seen: {target: {createdBy: this run, rolledOut: false, created: +0s}}
        now: +5s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True TargetCreated: the target did not exist and was created
            Running, Reconciling=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            currentTraffic none, startTime +0s
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
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True TargetCreated: the target did not exist and was created
            Running, Reconciling=True TargetCreated: Deployment myapp did not exist and was created; waits for it to be available
            currentTraffic none, startTime +0s
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
            phase Running → Succeeded, shows Succeeded 0s/15m0s
            Running=False TargetCreated: the target is available
            Scheduled=True TargetCreated: the target did not exist and was created
            Succeeded=True TargetCreated: Deployment myapp did not exist, was created from the template and is available
            currentTraffic none, startTime +0s, availableAt +5s
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
            phase Running → Failed, shows Failed 0s/15m0s, ended Running
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp was created and did not become available within 10m0s; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +10m0s, failedTemplates ["<hash>"]
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
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp was created and did not become available within 1h0m0s; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +10m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_target_that_was_created_and_got_another_template_since_is_the_target_of_a_new_run() {
    check(
        "
        status: {currentHash: '<this>', conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, template: t7, created: +0s, available: +5s}, promotion: t2}
        now: +5s
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True TargetReplaced: Deployment myapp did not exist and was created from the template, and somebody has replaced its template since: a new run starts
            run 2, currentTraffic none
            removed Running
        "#]],
    );
}

#[test]
fn a_target_that_took_the_place_of_the_one_that_was_created_is_the_target_of_a_new_run() {
    check(
        "
        seen: {target: {template: t7, available: +5s}, promotion: t2}
        now: +5s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True TargetReplaced: Deployment myapp did not exist and was created from the template, and somebody has replaced its template since: a new run starts
            run 2, currentTraffic none
        "#]],
    );
}

#[test]
fn after_a_restart_the_template_of_a_target_that_was_created_is_compared() {
    check(
        "
        status: {currentHash: '<this>', conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, template: t7, available: +5s}, live: {createdBy: this run, template: t7}, promotion: not yet}
        now: +5s
        ",
        expect![[r#"
            read SameTemplate
        "#]],
    );
}

#[test]
fn after_a_restart_a_target_with_another_template_than_the_created_one_is_the_target_of_a_new_run() {
    check(
        "
        status: {currentHash: '<this>', conditions: {Running: 'True TargetCreated: x'}}
        seen: {target: {createdBy: this run, template: t7, available: +5s}, live: {createdBy: this run, template: t7}, promotion: not yet, likeness: other}
        now: +5s
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True TargetReplaced: Deployment myapp did not exist and was created from the template, and somebody has replaced its template since: a new run starts
            run 2, currentTraffic none
            removed Running
        "#]],
    );
}
