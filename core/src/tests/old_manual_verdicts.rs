//! Verdicts of manual items from an earlier run, and the conditions under which verdicts become outdated.

use expect_test::expect;

use super::check;

#[test]
fn an_old_manual_valid_promotes_nothing_and_says_why() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running, run: 2, verdicts: {present: {valid: 1}, stale: {valid: 1}}}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (status valid is from an earlier run and does not count) (since +0s)
            VerdictIgnored=True FromEarlierRun: the status valid of a manual item stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid (status valid is from an earlier run and does not count)
        "#]],
    );
}

#[test]
fn an_item_that_is_added_beside_an_old_valid_does_not_make_it_new() {
    check(
        "
        kanary: {generation: 2}
        spec: {validation: {items: [{manual: {status: valid}}, {manual: {status: valid}}]}}
        status: {phase: Running, run: 2, verdicts: {present: {valid: 1}, stale: {valid: 1}}}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (status valid is from an earlier run and does not count); manual[1]: waits for a person to set status to valid or invalid (status valid is from an earlier run and does not count) (since +0s)
            VerdictIgnored=True FromEarlierRun: the status valid of a manual item stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            verdicts {"present":{"valid":2},"stale":{"valid":1}}
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid (status valid is from an earlier run and does not count)
            item manual[1] Pending: manual[1]: waits for a person to set status to valid or invalid (status valid is from an earlier run and does not count)
        "#]],
    );
}

#[test]
fn an_old_manual_invalid_fails_nothing() {
    check(
        "
        spec: {validation: {items: [{manual: {status: invalid}}]}}
        status: {phase: Running, run: 2, verdicts: {present: {invalid: 1}, stale: {invalid: 1}}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            VerdictIgnored=True FromEarlierRun: the status invalid of a manual item stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            wake at +15m0s
        "#]],
    );
}

#[test]
fn one_more_manual_invalid_fails_the_run() {
    check(
        "
        kanary: {generation: 2}
        spec: {validation: {items: [{manual: {status: invalid}}, {manual: {status: invalid}}]}}
        status: {phase: Running, run: 2, verdicts: {present: {invalid: 1}, stale: {invalid: 1}}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True ManualInvalid: manual[0]: status is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"invalid":2},"stale":{"invalid":1}}, completedAt +1m0s, failedTemplates ["<hash>"]
            item manual[0] Bad: manual[0]: status is invalid
            item manual[1] Bad: manual[1]: status is invalid
        "#]],
    );
}

#[test]
fn a_status_after_the_deadline_is_no_verdict_and_stays() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid, statusAfterDeadline: valid}}]}}
        status: {phase: Running, run: 2, verdicts: {present: {valid: 1}, stale: {valid: 1}}}
        seen: {canary: {available: +0s}}
        now: +15m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m0s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
            VerdictIgnored=True FromEarlierRun: the status valid of a manual item stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_verdict_that_comes_with_a_template_that_cannot_be_run_yet_is_about_that_one() {
    check(
        "
        kanary: {generation: 2}
        spec: {verdict: valid, scale: {static: {replicas: 0}}}
        was: {scale: null}
        status: {phase: Running, template: old}
        seen: {canary: {run: 0000000000000000-1, available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Reconciling=False InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_old_invalid_verdict_does_not_take_a_success_away() {
    check(
        "
        spec: {paused: true, verdict: invalid}
        status: {phase: Succeeded, run: 2, verdicts: {present: {verdict: invalid}, stale: {verdict: invalid}}}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Succeeded 0s/15m0s
            Reconciling=False Paused: spec.paused is true: Deployment myapp is not updated
            VerdictIgnored=True FromEarlierRun: spec.verdict invalid stood in the spec before this run and does not count for it: to give a verdict for this run, remove it, wait until status.observedGeneration is metadata.generation, and set it again; the opposite verdict counts at once
        "#]],
    );
}

#[test]
fn an_edit_before_the_schedule_is_noted_so_that_a_verdict_can_be_given_again() {
    check(
        "
        kanary: {generation: 3}
        status:
          currentHash: '<this>'
          run: 2
          conditions: {Scheduled: 'True WaitingForSchedule: x', Reconciling: 'True WaitingForSchedule: x'}
          observedGeneration: 2
          verdicts: {present: {verdict: valid}, stale: {verdict: valid}}
        seen: {canary: {}}
        now: +1s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Reconciling, Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available (since +0s)
            currentTraffic none, startTime -30s
            removed verdicts
            wake at +9m30s
        "#]],
    );
}
