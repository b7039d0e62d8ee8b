//! Measurements that count, and reports about queries.

use expect_test::expect;

use super::check;

#[test]
fn a_measurement_from_the_future_counts_for_nothing() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 7, last: 'Pass 0.2 on pod x', at: +1h}]}
        now: +15m
        "#,
        expect![[r#"
            check items [0]
            wake at +15m15s
        "#]],
    );
}

#[test]
fn a_pod_that_became_ready_after_the_last_measurement_is_measured_first() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: x}, {name: y}, {name: z, ready: false}], tallies: [{good: 45, last: 'Pass 0.2 on pod x', at: +15m, pods: [x]}]}
        now: +15m1s
        "#,
        expect![[r#"
            wake at +15m15s
        "#]],
    );
}

#[test]
fn faults_that_a_query_shows_itself_are_reported_when_the_validation_starts() {
    check(
        r#"
        spec: {validation: {initialDelay: 10s, items: [{promQL: {prometheusService: 'p:9090', query: 'sum(rate(errors[1m])) or vector(0)', allPodsQuery: true, valueInRange: {}}}]}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +10s
        "#,
        expect![[r#"
            phase Scheduled → Running, shows Running 10s/15m10s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m10s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m10s; warning: promQL[0]: `or vector(…)` turns missing data into a number, so it passes or fails like a measurement: leave it out, and onNoData says what missing data comes to; promQL[0]: allPodsQuery judges all of the result, and the query names nothing of the canary, so it may be about other pods as well: select the canary's series, as in pod=~"{{ pods }}"; promQL[0]: the query looks back over 1m0s, and is first asked 30s after the canary is available: it sees the start-up as well, so set initialDelay to 40s or more
            item promQL[0] Pending
              warning: `or vector(…)` turns missing data into a number, so it passes or fails like a measurement: leave it out, and onNoData says what missing data comes to
              warning: allPodsQuery judges all of the result, and the query names nothing of the canary, so it may be about other pods as well: select the canary's series, as in pod=~"{{ pods }}"
              warning: the query looks back over 1m0s, and is first asked 30s after the canary is available: it sees the start-up as well, so set initialDelay to 40s or more
        "#]],
    );
}

#[test]
fn an_interval_that_is_longer_than_the_maximum_is_warned_about() {
    check(
        r#"
        spec: {validation: {initialDelay: 10s, items: [{promQL: {prometheusService: 'p:9090', query: 'up', interval: 1m, valueInRange: {}}}]}}
        status: {phase: Scheduled}
        seen: {canary: {available: +0s}}
        now: +10s
        "#,
        expect![[r#"
            phase Scheduled → Running, shows Running 10s/15m10s
            Scheduled=True Started: the run has started (since +0s)
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m10s (since +0s)
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic
            Running=True Validating: Deployment myapp-kanary-batman is judged until +15m10s; warning: promQL[0]: interval is 1m0s, and the query is asked every 20s, because maxIntervalPeriod is not longer: set interval to 20s or less, or raise maxIntervalPeriod
            item promQL[0] Pending
              warning: interval is 1m0s, and the query is asked every 20s, because maxIntervalPeriod is not longer: set interval to 20s or less, or raise maxIntervalPeriod
        "#]],
    );
}

#[test]
fn after_an_edit_the_status_says_what_its_counts_are_about() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          items: [{name: 'promQL[0]', id: another, state: Bad, good: 3, bad: 2, errors: 0, message: x}]
        seen: {canary: {available: +0s}, tallies: [{good: 1, last: 'Pass 0.2', at: +20s}]}
        now: +21s
        show: [/items/0/bad]
        "#,
        expect![[r#"
            shows Running 21s/15m0s
            item promQL[0] Good (1 good, 0 bad, 0 errors): 0.2
              bad: 0
            wake at +40s
        "#]],
    );
}
