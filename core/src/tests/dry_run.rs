//! Dry-runs, which promote nothing.

use expect_test::expect;

use super::check;

#[test]
fn a_dry_run_ends_at_succeeded() {
    check(
        "
        spec: {validation: {noUpdate: true, items: [{manual: {statusAfterDeadline: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Activated, Reconciling=False DryRun: the run has ended
            Running=False AllItemsGood: the verdict is good
            Succeeded=True DryRun: every validation item is good at the deadline; a dry-run leaves Deployment myapp alone
            DeploymentUpdated=False DryRun: a dry-run does not update the target
            completedAt +15m0s
            item manual[0] Good
        "#]],
    );
}

#[test]
fn mode_dry_run_is_the_same_as_no_update() {
    check(
        "
        spec: {rollout: {mode: dry-run}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1m0s/15m0s
            Activated, Reconciling=False DryRun: the run has ended
            Running=False ManualValid: the verdict is good
            Succeeded=True DryRun: a manual item is valid and every other item agrees; a dry-run leaves Deployment myapp alone
            DeploymentUpdated=False DryRun: a dry-run does not update the target
            verdicts {"present":{"valid":1}}, completedAt +1m0s
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_dry_run_that_succeeded_never_touches_the_target() {
    check(
        "
        spec: {validation: {noUpdate: true}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}}
        now: +15m
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_dry_run_that_ended_does_not_promote_when_the_dry_run_is_switched_off() {
    check(
        "
        spec: {validation: {noUpdate: false}}
        status: {phase: Succeeded, completedAt: +1m, conditions: {Succeeded: 'True DryRun: x'}}
        seen: {live: {}}
        now: +15m
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_run_that_becomes_a_dry_run_before_the_target_is_written_ends_as_one() {
    check(
        "
        spec: {validation: {noUpdate: true}}
        status: {phase: Succeeded, completedAt: null, conditions: {Succeeded: 'True VerdictValid: x', Reconciling: 'True Promoting: x'}}
        seen: {canary: {available: +0s}, live: {}}
        now: +15m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=False DryRun: the run has ended
            Succeeded=True DryRun: the run became a dry-run before the target was updated; a dry-run leaves Deployment myapp alone (since +0s)
            completedAt +15m0s
            removed verdicts
        "#]],
    );
}
