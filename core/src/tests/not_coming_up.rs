//! A canary that does not become available or cannot be created: the status shows the reason, before and after the
//! deadline.

use expect_test::expect;

use super::check;

#[test]
fn what_keeps_the_canary_from_coming_up_is_reported_after_a_while() {
    check(
        "
        seen:
          canary: {created: -31s}
          pods: [{name: x-1, ready: false, cause: 'ImagePullBackOff: container main: Back-off pulling image'}]
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Stalled=True ImagePullBackOff: Deployment myapp-kanary-batman is not available: pod x-1: ImagePullBackOff: container main: Back-off pulling image; the run fails at +9m29s if it stays so (spec.rollout.progressDeadline)
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, startTime -31s
            wake at +9m29s
        "#]],
    );
}

#[test]
fn nothing_is_reported_before() {
    check(
        "
        seen:
          canary: {created: -29s}
          pods: [{name: x-1, ready: false, cause: 'ImagePullBackOff: container main: Back-off pulling image'}]
        ",
        expect![[r#"
            wake at +1s
        "#]],
    );
}

#[test]
fn a_canary_that_is_only_slow_is_not_reported() {
    check(
        "seen: {canary: {created: -5m}, pods: [{ready: false}]}",
        expect![[r#"
        wake at +5m0s
    "#]],
    );
}

#[test]
fn a_quota_is_reported_by_what_the_deployment_says() {
    check(
        "seen: {canary: {created: -1m, cause: 'FailedCreate: pods x is forbidden: exceeded quota'}}",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Stalled=True FailedCreate: Deployment myapp-kanary-batman is not available: FailedCreate: pods x is forbidden: exceeded quota; the run fails at +9m0s if it stays so (spec.rollout.progressDeadline)
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, startTime -1m0s
            wake at +9m0s
        "#]],
    );
}

#[test]
fn a_later_stage_replaces_what_was_reported_and_an_earlier_one_does_not() {
    let reported = |cause: &str| {
        format!(
            "
            status: {{currentHash: <this>, conditions: {{Stalled: 'True ImagePullBackOff: as it was'}}}}
            seen: {{canary: {{created: -2m}}, pods: [{{name: x-1, ready: false, cause: '{cause}'}}]}}
            "
        )
    };
    check(
        &reported("Unschedulable: no node"),
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, startTime -2m0s
            wake at +8m0s
        "#]],
    );
    check(
        &reported("CrashLoopBackOff: container main ended with exit code 1 (Error)"),
        expect![[r#"
            shows Scheduled 0s/15m0s
            Stalled=True CrashLoopBackOff: Deployment myapp-kanary-batman is not available: pod x-1: CrashLoopBackOff: container main ended with exit code 1 (Error); the run fails at +8m0s if it stays so (spec.rollout.progressDeadline)
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, startTime -2m0s
            wake at +8m0s
        "#]],
    );
}

#[test]
fn a_canary_that_did_not_come_up_in_time_fails_with_the_cause() {
    check(
        "
        seen:
          canary: {created: -10m}
          pods: [{name: x-1, ready: false, cause: 'ImagePullBackOff: container main: Back-off pulling image'}]
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True ProgressDeadlineExceeded: Deployment myapp-kanary-batman did not become available within 10m0s: pod x-1: ImagePullBackOff: container main: Back-off pulling image; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_canary_that_goes_down_while_it_is_judged_is_reported_as_well() {
    check(
        "
        status: {phase: Running}
        seen:
          canary: {unavailable: +5m}
          pods: [{name: x-1, ready: false, cause: 'CrashLoopBackOff: container main ended with exit code 1 (Error)'}]
        now: +6m
        ",
        expect![[r#"
            shows Running 6m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is not available: its deadline, +15m0s before this outage, moves by the length of the outage (since +0s)
            Reconciling=False CrashLoopBackOff: Deployment myapp-kanary-batman is not available: pod x-1: CrashLoopBackOff: container main ended with exit code 1 (Error); the run fails at +15m0s if it stays so (spec.rollout.progressDeadline)
            Stalled=True CrashLoopBackOff: Deployment myapp-kanary-batman is not available: pod x-1: CrashLoopBackOff: container main ended with exit code 1 (Error); the run fails at +15m0s if it stays so (spec.rollout.progressDeadline)
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_is_up_again_is_no_longer_reported() {
    check(
        "
        status: {phase: Running, conditions: {Stalled: 'True CrashLoopBackOff: x', Reconciling: 'False CrashLoopBackOff: x'}}
        seen: {canary: {available: +6m, outage: {from: +5m}}}
        now: +6m
        ",
        expect![[r#"
            shows Running 5m0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +16m0s; 1m0s in which it was not available do not count (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +16m0s; 1m0s in which it was not available do not count
            Stalled=False Resolved: nothing is in the way any more
            availableSince +6m0s, unavailableFor 1m0s, deadline +16m0s
            wake at +16m0s
        "#]],
    );
}

#[test]
fn what_cannot_be_created_says_so_and_since_when() {
    check(
        "seen: {refusal: {retryAt: +10s, uncreated: -20s}}",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True WriteRefused: create Deployment: no quota
            Scheduled=True WriteRefused: the canary is not judged before this is resolved: create Deployment: no quota
            currentTraffic none, startTime -20s
            wake at +10s
        "#]],
    );
}

#[test]
fn what_could_not_be_created_within_the_progress_deadline_ends_the_run() {
    check(
        "
        status: {currentHash: <this>, startTime: -20s, conditions: {Errored: 'True WriteFailed: x', Stalled: 'True WriteFailed: x'}}
        seen: {refusal: {retryAt: +10m, uncreated: -20s}}
        now: +9m40s
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Errored=False ProgressDeadlineExceeded: the run has ended
            Stalled=True ProgressDeadlineExceeded: what the run needs could not be created within 10m0s: create Deployment: no quota; to try again, change spec.template, or set spec.retry to another number (since +0s)
            Failed=True ProgressDeadlineExceeded: what the run needs could not be created within 10m0s: create Deployment: no quota; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +9m40s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn what_could_not_be_created_is_looked_for_before_the_run_ends() {
    check(
        "
        seen: {refusal: {retryAt: +10m, uncreated: -20s}, confirmed: false}
        now: +9m40s
        ",
        expect![[r#"
            read LiveCanary
        "#]],
    );
    // It exists: the call that failed was executed.
    check(
        "
        seen: {canary: {created: -20s, available: -10s}, refusal: {retryAt: +9m, uncreated: -20s}}
        now: +9m40s
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 9m50s/15m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +14m50s
            currentTraffic none, initialDelay 0s, validationPeriod 15m0s, startTime -20s, availableAt -10s, validationStartTime -10s, deadline +14m50s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn a_restart_does_not_begin_the_progress_deadline_anew() {
    check(
        "
        status: {currentHash: <this>, startTime: -20s, conditions: {Errored: 'True WriteFailed: x', Stalled: 'True WriteFailed: x'}}
        seen: {refusal: {retryAt: +10m, uncreated: +5m}}
        now: +9m40s
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Errored=False ProgressDeadlineExceeded: the run has ended
            Stalled=True ProgressDeadlineExceeded: what the run needs could not be created within 10m0s: create Deployment: no quota; to try again, change spec.template, or set spec.retry to another number (since +0s)
            Failed=True ProgressDeadlineExceeded: what the run needs could not be created within 10m0s: create Deployment: no quota; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +9m40s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_target_that_cannot_be_created_within_the_progress_deadline_ends_the_run() {
    check(
        "
        seen: {target: null, refusal: {retryAt: +10m, uncreated: -20s}}
        now: +9m40s
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True ProgressDeadlineExceeded: what the run needs could not be created within 10m0s: create Deployment: no quota; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, completedAt +9m40s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_canary_that_is_judged_does_not_fail_because_it_cannot_be_scaled() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s, replicas: 2}, refusal: {retryAt: +12m, uncreated: +1m}}
        now: +11m30s
        ",
        expect![[r#"
            shows Errored 11m30s/15m0s
            Reconciling=False WriteRefused: create Deployment: no quota
            Errored, Stalled=True WriteRefused: create Deployment: no quota
            wake at +12m0s
        "#]],
    );
}
