//! `promQL` items: valid and insufficient evidence.

use expect_test::expect;

use super::check;

#[test]
fn the_first_measurement_is_due_an_interval_after_the_start() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +5s
        "#,
        expect![[r#"
            wake at +20s
        "#]],
    );
}

#[test]
fn a_measurement_is_due_at_least_every_max_interval_period() {
    check(
        r#"
        spec: {validation: {maxIntervalPeriod: 10s, items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, interval: 1m}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +10s
        "#,
        expect![[r#"
            check items [0]
            wake at +20s
        "#]],
    );
}

#[test]
fn an_item_may_be_measured_more_often_than_it_must() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, interval: 5s}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 1, last: Pass, at: +5s}]}
        now: +10s
        "#,
        expect![[r#"
            check items [0]
            wake at +15s
        "#]],
    );
}

#[test]
fn a_measurement_that_is_under_way_is_not_asked_for_twice() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{pending: true}]}
        now: +25s
        "#,
        expect![[r#"
            wake at +40s
        "#]],
    );
}

#[test]
fn only_the_items_that_are_due_are_asked() {
    check(
        r#"
        spec: {validation: {items: [{manual: {}}, {promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}, {promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{}, {good: 1, last: Pass, at: +20s}, {}]}
        now: +21s
        "#,
        expect![[r#"
            check items [2]
            wake at +40s
        "#]],
    );
}

#[test]
fn nothing_is_measured_in_the_initial_delay() {
    check(
        r#"
        spec: {validation: {initialDelay: 1m, items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +40s
        "#,
        expect![[r#"
            wake at +1m0s
        "#]],
    );
}

#[test]
fn nothing_is_measured_during_a_pause() {
    check(
        r#"
        spec: {paused: true, validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running, pausedAt: +30s, conditions: {Reconciling: 'False Paused: spec.paused is true: the run is held where it is'}}
        seen: {canary: {available: +0s}}
        now: +5m
        "#,
        expect![[r#"
            shows Running 30s/15m0s
            Running=True Paused: spec.paused is true: Deployment myapp-kanary-batman can fail but not pass; 14m30s of its validation are left (since +0s)
        "#]],
    );
}

#[test]
fn a_bad_measurement_fails_the_run_at_once_with_its_number_and_pod() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {max: 0.31}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{bad: 1, last: 'Fail 0.47 outside [0, 0.31] on pod x', at: +20s}]}
        now: +21s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 21s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True PromQLFailed: promQL[0]: 0.47 outside [0, 0.31] on pod x; to try again, change spec.template, or set spec.retry to another number
            completedAt +21s, failedTemplates ["<hash>"]
            item promQL[0] Bad (0 good, 1 bad, 0 errors): 0.47 outside [0, 0.31] on pod x
        "#]],
    );
}

#[test]
fn bad_measurements_within_the_failure_limit_are_tolerated_and_remembered() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, failureLimit: 1}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{bad: 1, last: 'Fail 2 outside [0, 1] on pod x', at: +20s}]}
        now: +21s
        "#,
        expect![[r#"
            shows Running 21s/15m0s
            item promQL[0] Bad (0 good, 1 bad, 0 errors): 2 outside [0, 1] on pod x
            wake at +40s
        "#]],
    );
}

#[test]
fn one_bad_measurement_more_than_the_failure_limit_fails_the_run() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, failureLimit: 1}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 3, bad: 2, last: 'Fail 2 outside [0, 1] on pod x', at: +20s}]}
        now: +21s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 21s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True PromQLFailed: promQL[0]: 2 outside [0, 1] on pod x (2 bad measurements, 1 tolerated); to try again, change spec.template, or set spec.retry to another number
            completedAt +21s, failedTemplates ["<hash>"]
            item promQL[0] Bad (3 good, 2 bad, 0 errors): 2 outside [0, 1] on pod x
        "#]],
    );
}

#[test]
fn a_query_that_cannot_be_answered_is_no_verdict() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 3, errors: 3, last: 'Error connection refused', at: +1m20s}]}
        now: +1m21s
        "#,
        expect![[r#"
            wake at +1m40s
        "#]],
    );
}

#[test]
fn queries_that_cannot_be_answered_for_long_are_inconclusive() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 3, errors: 4, last: 'Error connection refused', at: +1m20s}]}
        now: +1m21s
        "#,
        expect![[r#"
            shows Running 1m21s/15m0s
            Reconciling=False Inconclusive: promQL[0]: 4 queries in a row could not be answered: connection refused
            Stalled=True Inconclusive: promQL[0]: 4 queries in a row could not be answered: connection refused
            item promQL[0] Inconclusive (Inconclusive) (3 good, 0 bad, 4 errors): 4 queries in a row could not be answered: connection refused
            wake at +1m40s
        "#]],
    );
}

#[test]
fn an_inconclusive_item_that_is_answered_again_lets_the_run_go_on() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          conditions: {Stalled: 'True Inconclusive: x', Reconciling: 'False Inconclusive: x'}
          items: [{name: 'promQL[0]', reason: Inconclusive, state: Inconclusive, good: 3, bad: 0, errors: 4, message: 'connection refused'}]
        seen: {canary: {available: +0s}, tallies: [{good: 4, answers: 2, last: 'Pass 0.2 on pod x', at: +2m}]}
        now: +2m1s
        "#,
        expect![[r#"
            shows Running 2m1s/15m0s
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            Stalled=False Resolved: nothing is in the way any more
            item promQL[0] Good (4 good, 0 bad, 0 errors): 0.2 on pod x
            wake at +2m20s
        "#]],
    );
}

#[test]
fn a_manual_valid_waits_for_a_first_good_measurement() {
    check(
        r#"
        spec: {validation: {items: [{manual: {status: valid}}, {promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{}, {}]}
        now: +5s
        "#,
        expect![[r#"
            wake at +20s
        "#]],
    );
}

#[test]
fn a_manual_valid_with_good_measurements_ends_the_run_early() {
    check(
        r#"
        spec: {validation: {items: [{manual: {status: valid}}, {promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{}, {good: 1, last: 'Pass 0.2 on pod x', at: +20s}]}
        now: +21s
        "#,
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 21s/15m0s
            Running=False ManualValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True ManualValid: a manual item is valid and every other item agrees
            verdicts {"present":{"valid":1}}
            item manual[0] Good
            item promQL[1] Good (1 good, 0 bad, 0 errors): 0.2 on pod x
        "#]],
    );
}

#[test]
fn a_verdict_valid_does_not_wait_for_a_prometheus_that_is_down() {
    check(
        r#"
        spec: {verdict: valid, validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{errors: 9, last: 'Error connection refused', at: +3m}]}
        now: +3m1s
        "#,
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 3m1s/15m0s
            Running=False VerdictValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True VerdictValid: spec.verdict is valid
            verdicts {"present":{"verdict":"valid"}}
            item promQL[0] Inconclusive (Inconclusive) (0 good, 0 bad, 9 errors): 9 queries in a row could not be answered: connection refused
        "#]],
    );
}

#[test]
fn an_unknown_variable_in_a_query_is_refused() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: 'up{x="{{ colour }}"}', valueInRange: {}}}]}}
        "#,
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].promQL: query has the unknown variable `{{ colour }}`: use {{ deployment.name }}, {{ canary.name }}, {{ service.name }}, {{ namespace }}, {{ kanary.name }}, {{ traffic.weight }}, {{ canary.pods }} or {{ pods }}
        "#]],
    );
}

#[test]
fn a_query_about_the_service_needs_a_service() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: 'up{x="{{ service.name }}"}', valueInRange: {}}}]}}
        "#,
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: a query uses {{ service.name }}, and spec.serviceName is not set: set it, or change the query
        "#]],
    );
}

#[test]
fn more_samples_than_the_period_has_room_for_are_refused() {
    check(
        r#"
        spec: {validation: {validationPeriod: 1m, items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, minSamples: 10}}]}}
        "#,
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.validation.items[0].promQL.minSamples 10 can't be reached: until the deadline 3 measurements fit (validationPeriod 1m0s, interval 20s); lower minSamples to 3, or the interval, or raise validationPeriod
        "#]],
    );
}

#[test]
fn a_controller_that_restarted_goes_on_with_the_bad_measurements_that_the_status_remembers() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, failureLimit: 1}}]}}
        status: {phase: Running, items: [{name: 'promQL[0]', state: Bad, good: 2, bad: 1, errors: 0}]}
        seen: {canary: {available: +0s}, tallies: [{good: 2, bad: 1, resumed: true}]}
        now: +2m
        "#,
        expect![[r#"
            check items [0]
            wake at +2m20s
        "#]],
    );
}

#[test]
fn a_query_that_prometheus_refuses_is_an_error_and_no_verdict() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: 'up up', valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{errors: 1, last: 'Invalid parse error: unexpected end of input', at: +20s}]}
        now: +21s
        "#,
        expect![[r#"
            shows Errored 21s/15m0s
            Reconciling=False QueryInvalid: promQL[0]: parse error: unexpected end of input
            Errored, Stalled=True QueryInvalid: promQL[0]: parse error: unexpected end of input
            item promQL[0] Error (QueryInvalid) (0 good, 0 bad, 1 errors): parse error: unexpected end of input
            wake at +40s
        "#]],
    );
}

#[test]
fn a_refused_query_that_is_fixed_is_no_longer_errored() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          conditions: {Errored: 'True QueryInvalid: x', Stalled: 'True QueryInvalid: x', Reconciling: 'False QueryInvalid: x'}
        seen: {canary: {available: +0s}, tallies: [{good: 1, last: 'Pass 0.2 on pod x', at: +40s}]}
        now: +41s
        "#,
        expect![[r#"
            shows Running 41s/15m0s
            Errored=False Resolved: what was wrong is resolved
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            Stalled=False Resolved: nothing is in the way any more
            item promQL[0] Good (1 good, 0 bad, 0 errors): 0.2 on pod x
            wake at +1m0s
        "#]],
    );
}
