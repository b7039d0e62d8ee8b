//! Limits on canaries that run at the same time: a run waits for a place before it creates anything.

use expect_test::expect;

use super::check;

#[test]
fn a_run_asks_for_a_place_before_it_creates_anything() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}}
        seen: {place: {total: 10}}
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForPlace: waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries); a higher spec.priority starts earlier
            currentTraffic both myapp-svc myapp-svc-kanary-batman, place: requestedAt +0s state Waiting
        "#]],
    );
}

#[test]
fn the_place_in_the_line_is_said_once_it_is_known() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        seen: {place: {total: 10, perNamespace: 1, line: {position: 17, waiting: 340, at: +3s}}}
        now: +4s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True WaitingForPlace: waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries), and 1 canary of a namespace at the same time (--max-concurrent-canaries-per-namespace); place 17 of 340 at +3s; a higher spec.priority starts earlier (since +0s)
            Reconciling=True WaitingForPlace: waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries), and 1 canary of a namespace at the same time (--max-concurrent-canaries-per-namespace); place 17 of 340 at +3s; a higher spec.priority starts earlier
            currentTraffic none, place: line 17 requestedAt +0s state Waiting
        "#]],
    );
}

#[test]
fn behind_the_first_hundred_only_the_number_is_known() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        seen: {place: {total: 10, line: {waiting: 340, at: +3s}}}
        now: +4s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True WaitingForPlace: waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries); behind the first 100 of 340 at +3s; a higher spec.priority starts earlier (since +0s)
            Reconciling=True WaitingForPlace: waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries); behind the first 100 of 340 at +3s; a higher spec.priority starts earlier
            currentTraffic none, place: line null requestedAt +0s state Waiting
        "#]],
    );
}

#[test]
fn a_run_that_waits_writes_nothing_more() {
    let line = "{position: 17, waiting: 340, at: +3s}";
    let why = "waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries); \
               place 17 of 340 at 2026-01-01T12:00:03Z; a higher spec.priority starts earlier";
    check(
        &format!(
            "
        status:
          currentHash: <this>
          currentTraffic: none
          observedGeneration: 1
          report: {{status: Scheduled, deployment: myapp, scale: static, traffic: none, validation: manual, duration: 0s/15m0s}}
          place: {{requestedAt: +0s, state: Waiting, line: {line}}}
          conditions: {{Scheduled: 'True WaitingForPlace: {why}', Reconciling: 'True WaitingForPlace: {why}'}}
        seen: {{place: {{total: 10, line: {{position: 2, waiting: 12, at: +1h}}}}}}
        now: +1h
        "
        ),
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_granted_place_starts_the_run() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        seen: {place: {total: 10, granted: +0s}}
        now: +1h
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            shows Scheduled 0s/15m0s
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available (since +0s)
            Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, place: requestedAt +0s state Taken
        "#]],
    );
}

#[test]
fn a_place_of_another_request_starts_nothing() {
    check(
        "
        status: {place: {requestedAt: +5s, state: Left}}
        seen: {place: {total: 10, granted: +5s}}
        now: +5s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForPlace: waits for a place, because Kanary runs no more than 10 canaries at the same time (--max-concurrent-canaries); a higher spec.priority starts earlier
            currentTraffic none, place: requestedAt +5s state Waiting
        "#]],
    );
}

#[test]
fn a_run_that_has_started_needs_no_place() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}, place: {total: 1}}
        now: +1m
        ",
        expect![[r#"
            shows Running 1m0s/15m0s
            place: requestedAt +1m0s state Taken
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_that_was_created_counts_before_its_status_says_so() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        seen: {canary: {}, place: {total: 1}}
        now: +1m
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available (since +0s)
            Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none, startTime -30s, place: requestedAt +0s state Taken
            wake at +9m30s
        "#]],
    );
}

#[test]
fn a_canary_that_somebody_deleted_is_created_again_at_once() {
    check(
        "
        status: {phase: Running, place: {requestedAt: -1m, state: Taken}}
        seen: {place: {total: 1}}
        now: +1m
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_problem_holds_the_turn_for_a_minute() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: null, place: {total: 1, granted: +0s}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Scheduled=True ServiceNotFound: the canary is not judged before this is resolved: Service myapp-svc does not exist: create it, or change spec.serviceName (since +0s)
            Errored, Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            currentTraffic service myapp-svc, place: blockedAt +1m0s requestedAt +0s state Waiting
        "#]],
    );
}

#[test]
fn a_problem_that_lasts_gives_the_place_to_others() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting, blockedAt: +1m}, conditions: {Scheduled: 'True ServiceNotFound: x'}, phase: ''}
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: null, place: {total: 1, granted: +0s}}
        now: +2m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Scheduled=True ServiceNotFound: the canary is not judged before this is resolved: Service myapp-svc does not exist: create it, or change spec.serviceName (since +0s)
            Errored, Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            currentTraffic service myapp-svc, place: requestedAt +0s state Left
        "#]],
    );
}

#[test]
fn a_run_that_left_the_line_asks_anew() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Left}, conditions: {Scheduled: 'True ServiceNotFound: x'}, phase: ''}
        seen: {place: {total: 1, granted: +0s}}
        now: +0s
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled, Reconciling=True WaitingForPlace: waits for a place, because Kanary runs no more than 1 canary at the same time (--max-concurrent-canaries); a higher spec.priority starts earlier
            currentTraffic none, place: requestedAt +1ms state Waiting
        "#]],
    );
}

#[test]
fn a_pause_while_it_waits_counts_as_a_problem() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        spec: {paused: true}
        seen: {place: {total: 1}}
        now: +1m
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True Paused: spec.paused is true: nothing is created, and no time passes for this run (since +0s)
            Reconciling=False Paused: spec.paused is true: the run is held where it is
            currentTraffic none, startTime +1m0s, pausedAt +1m0s, place: blockedAt +1m0s requestedAt +0s state Waiting
        "#]],
    );
}

#[test]
fn a_schedule_that_is_set_while_it_waits_counts_as_a_problem() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        spec: {schedule: +1h}
        seen: {place: {total: 1}}
        now: +1m
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True WaitingForSchedule: nothing is created before +1h0m0s (since +0s)
            Reconciling=True WaitingForSchedule: nothing is created before +1h0m0s
            currentTraffic none, place: blockedAt +1m0s requestedAt +0s state Waiting
            wake at +1h0m0s
        "#]],
    );
}

#[test]
fn a_verdict_against_the_template_ends_the_wait() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        spec: {verdict: invalid}
        seen: {place: {total: 1}}
        now: +1h
        ",
        expect![[r#"
            phase Scheduled → Failed, shows Failed 0s/15m0s
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            currentTraffic none, verdicts {"present":{"verdict":"invalid"}}, completedAt +1h0m0s, failedTemplates ["<hash>"]
        "#]],
    );
}

#[test]
fn a_good_verdict_does_not_jump_the_line() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        spec: {verdict: valid}
        seen: {place: {total: 1}}
        now: +1h
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True WaitingForPlace: waits for a place, because Kanary runs no more than 1 canary at the same time (--max-concurrent-canaries); a higher spec.priority starts earlier (since +0s)
            Reconciling=True WaitingForPlace: waits for a place, because Kanary runs no more than 1 canary at the same time (--max-concurrent-canaries); a higher spec.priority starts earlier
            currentTraffic none, verdicts {"present":{"verdict":"valid"}}
        "#]],
    );
}

#[test]
fn a_refused_write_keeps_its_place() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        seen: {refusal: {retryAt: +10m, uncreated: +1m}, place: {total: 1, granted: +0s}}
        now: +5m
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Scheduled=True WriteRefused: the canary is not judged before this is resolved: create Deployment: no quota (since +0s)
            Errored, Stalled=True WriteRefused: create Deployment: no quota
            currentTraffic none, startTime +1m0s
            wake at +10m0s
        "#]],
    );
}

#[test]
fn another_template_keeps_the_turn_in_the_line() {
    check(
        "
        status: {currentHash: other, place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        seen: {place: {total: 1}}
        now: +1h
        ",
        expect![[r#"
            shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts (since +0s)
            Reconciling=True NewRun: a new run starts
            run 2, currentTraffic none
        "#]],
    );
}

#[test]
fn a_run_that_has_ended_gives_its_place_back_for_good() {
    check(
        "
        status: {currentHash: other, completedAt: +1h, place: {requestedAt: +0s, state: Taken}, conditions: {Failed: 'True PromQLFailed: x'}, phase: ''}
        seen: {place: {total: 1}}
        now: +2h
        ",
        expect![[r#"
            phase Failed → Scheduled, shows Scheduled 0s/15m0s
            Scheduled=True NewRun: spec.template changed: a new run starts
            Reconciling=True NewRun: a new run starts
            run 2, currentTraffic none, place: requestedAt +0s state Left
            removed Failed, completedAt
        "#]],
    );
}

#[test]
fn a_target_that_is_created_needs_no_place() {
    check(
        "
        status: {phase: ''}
        seen: {target: null, missingSince: -1h, place: {total: 1}}
        ",
        expect![[r#"
            create Deployment myapp
        "#]],
    );
}

#[test]
fn without_a_limit_nobody_waits() {
    check(
        "
        status: {place: {requestedAt: +0s, state: Waiting}, conditions: {Scheduled: 'True WaitingForPlace: x'}, phase: ''}
        now: +1m
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            shows Scheduled 0s/15m0s
            Scheduled=True Activating: waits for Deployment myapp-kanary-batman to be available (since +0s)
            Reconciling=True Activating: waits for Deployment myapp-kanary-batman to be available
            currentTraffic none
        "#]],
    );
}
