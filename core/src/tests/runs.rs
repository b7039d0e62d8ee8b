//! New runs, retries and failed templates.

use expect_test::expect;

use super::check;

#[test]
fn a_changed_template_starts_a_new_run() {
    check(
        "
        status: {phase: DeploymentUpdated, template: old, completedAt: +1m}
        seen: {target: {promotedBy: 'uid-batman/0000000000000000-1'}}
        now: +1h
        ",
        expect![[r#"
            phase DeploymentUpdated → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2
            removed Activated, Traffic, Running, Succeeded, DeploymentUpdated, verdicts, initialDelay, validationPeriod, promotedHash, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn a_changed_template_replaces_a_run_that_is_under_way() {
    check(
        "
        status: {phase: Running, template: old}
        seen: {canary: {run: 0000000000000000-1, available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts (since +0s)
            run 2
            removed Activated, Traffic, Running, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}

#[test]
fn the_second_new_run_is_the_third() {
    check(
        "
        status: {phase: Failed, template: old, run: 2, failedTemplates: []}
        now: +1m
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 3
            removed Activated, Traffic, Running, Failed, Stalled, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn a_changed_retry_runs_the_same_template_once_more() {
    check(
        "
        spec: {retry: 1}
        status: {phase: Failed}
        now: +1h
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.retry changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2, retry 1
            removed Activated, Traffic, Running, Failed, Stalled, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn a_retry_that_was_not_changed_does_nothing() {
    check(
        "
        spec: {retry: 1}
        status: {phase: Failed, retry: 1}
        now: +1h
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_retry_that_goes_back_to_none_is_a_change_too() {
    check(
        "
        status: {phase: Failed, retry: 1}
        now: +1h
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.retry changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2
            removed Activated, Traffic, Running, Failed, Stalled, retry, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline, completedAt
        "#]],
    );
}

#[test]
fn the_first_run_with_a_retry_number_is_simply_the_first() {
    check(
        "
        spec: {retry: 7}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_new_run_has_times_of_its_own() {
    check(
        "
        status: {phase: New}
        seen: {canary: {created: +1h, available: +1h1m}}
        now: +1h1m
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +1h16m0s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +1h16m0s
            initialDelay 0s, validationPeriod 15m0s, startTime +1h0m0s, availableAt +1h1m0s, validationStartTime +1h1m0s, deadline +1h16m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn a_new_run_names_its_canary_after_itself() {
    check(
        "
        status: {phase: New}
        show: [/metadata/labels, /spec/selector]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-2","…/slot":"ac"}
              selector: {"matchLabels":{"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-2"}}
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
        "#]],
    );
}

#[test]
fn a_finished_run_stays_readable_when_something_else_of_the_spec_is_edited() {
    check(
        "
        spec: {validation: {initialDelay: 5m}, scale: {static: {replicas: 4}}}
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: this run}}
        now: +1h
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_template_that_changed_before_anything_was_written_is_simply_the_run() {
    check(
        "
        seen: {canary: {run: older}}
        now: +1s
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_retained_canary_goes_when_a_new_run_starts() {
    check(
        "
        spec: {rollout: {onFailure: retain}}
        status: {phase: New}
        seen: {canary: {run: older}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_null_in_the_template_is_no_change() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {creationTimestamp: <null>}}}}}
        status: {phase: DeploymentUpdated}
        seen: {target: {promotedBy: this run}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_verdict_that_does_not_say_about_which_template_it_is_promotes_nothing() {
    check(
        "
        status: {phase: Succeeded, currentHash: null}
        seen: {canary: {available: +0s}, live: {}}
        now: +1m
        ",
        expect![[r#"
            phase Succeeded → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts (since +0s)
            run 2
            removed Activated, Traffic, Running, Succeeded, verdicts, initialDelay, validationPeriod, startTime, availableAt, validationStartTime, deadline
        "#]],
    );
}
