//! Items that the run waits for: all are reported together, and the text changes only when there is news.

use expect_test::expect;

use super::check;

#[test]
fn a_slow_prometheus_fails_no_canary() {
    // 12 of 45 measurements were made, three of them before there was data.
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, minSamples: 10, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 9, empty: 3, answers: 9, last: 'Pass 0.2 on pod x', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True TooFewSamples: promQL[0]: 9 good measurements at the deadline, 10 needed: goes on measuring (since +0s)
            item promQL[0] Good (TooFewSamples) (9 good, 0 bad, 0 errors): 9 good measurements at the deadline, 10 needed: goes on measuring
            wake at +15m20s
        "#]],
    );
}

#[test]
fn measurements_without_data_fail_as_asked_when_no_others_could_have_made_up_for_them() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, minSamples: 10, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 9, empty: 36, answers: 9, last: 'Pass 0.2 on pod x', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 15m1s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True NoData: promQL[0]: 36 measurements had no data (9 good measurements at the deadline, 10 needed, and onNoData is fail); to try again, change spec.template, or set spec.retry to another number
            completedAt +15m1s, failedTemplates ["<hash>"]
            item promQL[0] Good (9 good, 0 bad, 0 errors): 0.2 on pod x
        "#]],
    );
}

#[test]
fn one_error_does_not_turn_fail_into_hold() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{empty: 44, silence: 44, last: 'NoData no series', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 15m1s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True NoData: promQL[0]: no series (44 measurements in a row without data, and onNoData is fail); to try again, change spec.template, or set spec.retry to another number
            completedAt +15m1s, failedTemplates ["<hash>"]
            item promQL[0] NoData: no series
        "#]],
    );
}

#[test]
fn data_that_stops_for_good_fails_as_asked() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 41, empty: 4, silence: 4, last: 'NoData no series', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 15m1s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True NoData: promQL[0]: no series (4 measurements in a row without data, and onNoData is fail); to try again, change spec.template, or set spec.retry to another number
            completedAt +15m1s, failedTemplates ["<hash>"]
            item promQL[0] NoData (41 good, 0 bad, 0 errors): no series
        "#]],
    );
}

#[test]
fn data_that_stops_for_a_moment_is_waited_for() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 42, empty: 3, silence: 3, last: 'NoData no series', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False NoData: promQL[0]: no data at the deadline: no series (42 good measurements so far, 1 needed)
            Stalled=True NoData: promQL[0]: no data at the deadline: no series (42 good measurements so far, 1 needed)
            item promQL[0] NoData (NoData) (42 good, 0 bad, 0 errors): no data at the deadline: no series (42 good measurements so far, 1 needed)
            wake at +15m20s
        "#]],
    );
}

#[test]
fn a_new_owner_fails_nobody_for_what_it_did_not_see_itself() {
    for (silence, expected) in [
        (
            3,
            expect![[r#"
                shows Running 15m1s/15m0s
                Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
                Reconciling=False NoData: promQL[0]: no data at the deadline: no series (0 good measurements so far, 1 needed)
                Stalled=True NoData: promQL[0]: no data at the deadline: no series (0 good measurements so far, 1 needed)
                item promQL[0] NoData (NoData): no data at the deadline: no series (0 good measurements so far, 1 needed)
                wake at +15m20s
            "#]],
        ),
        (
            4,
            expect![[r#"
                phase Running → Failed, shows Failed 15m1s/15m0s, ended Activated, Running, Reconciling
                Failed, Stalled=True NoData: promQL[0]: no series (4 measurements in a row without data, and onNoData is fail); to try again, change spec.template, or set spec.retry to another number
                completedAt +15m1s, failedTemplates ["<hash>"]
                item promQL[0] NoData: no series
            "#]],
        ),
    ] {
        let tally =
            format!("{{empty: {silence}, silence: {silence}, resumed: true, last: 'NoData no series', at: +15m}}");
        check(
            &format!(
                r#"
        spec: {{validation: {{items: [{{promQL: {{prometheusService: 'p:9090', query: up, valueInRange: {{}}, onNoData: fail}}}}]}}}}
        status: {{phase: Running}}
        seen: {{canary: {{available: +0s}}, tallies: [{tally}]}}
        now: +15m1s
        "#
            ),
            expected,
        );
    }
}

#[test]
fn a_query_that_fails_says_nothing_new_of_an_item_without_data() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          conditions:
            Running: 'True Validating: the validation period of Deployment myapp-kanary-batman ended at 2026-01-01T12:15:00Z'
            Stalled: 'True NoData: promQL[0]: no data'
            Reconciling: 'False NoData: promQL[0]: no data'
          items: [{name: 'promQL[0]', reason: NoData, state: NoData, good: 3, bad: 0, errors: 0, message: no data}]
        seen: {canary: {available: +0s}, tallies: [{good: 3, errors: 1, silence: 1, last: 'Error connection refused', at: +15m20s}]}
        now: +15m21s
        "#,
        expect![[r#"
            wake at +15m40s
        "#]],
    );
}

#[test]
fn another_number_says_nothing_new_of_an_item_without_data() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          conditions:
            Running: 'True Validating: the validation period of Deployment myapp-kanary-batman ended at 2026-01-01T12:15:00Z'
            Stalled: 'True NoData: promQL[0]: no data at the deadline: no series of pod x-1 (3 good measurements so far, 1 needed)'
            Reconciling: 'False NoData: promQL[0]: no data at the deadline: no series of pod x-1 (3 good measurements so far, 1 needed)'
          items: [{name: 'promQL[0]', reason: NoData, state: NoData, good: 3, bad: 0, errors: 0, message: 'no data at the deadline: no series of pod x-1 (3 good measurements so far, 1 needed)'}]
        seen: {canary: {available: +0s}, tallies: [{good: 4, silence: 9, last: 'NoData no series of pods y, z-2 and 3 more', at: +15m20s}]}
        now: +15m21s
        "#,
        expect![[r#"
            wake at +15m40s
        "#]],
    );
}

#[test]
fn another_cause_is_reported_at_most_once_a_minute() {
    let case = |seconds: u8| {
        format!(
            r#"
        spec: {{validation: {{items: [{{promQL: {{prometheusService: 'p:9090', query: up, valueInRange: {{}}}}}}]}}}}
        status:
          phase: Running
          conditions:
            Running: 'True Validating: the validation period of Deployment myapp-kanary-batman ended at 2026-01-01T12:15:00Z'
            Stalled: 'True NoData: promQL[0]: no data at the deadline: no series (3 good measurements so far, 1 needed)'
            Reconciling: 'False NoData: promQL[0]: no data at the deadline: no series (3 good measurements so far, 1 needed)'
          items: [{{name: 'promQL[0]', reason: NoData, state: NoData, good: 3, bad: 0, errors: 0, lastCheck: 2026-01-01T12:15:20Z, message: 'no data at the deadline: no series (3 good measurements so far, 1 needed)'}}]
        seen: {{canary: {{available: +0s}}, tallies: [{{good: 3, silence: 9, last: 'NoData NaN is no measurement on pod y', at: +16m{seconds}s}}]}}
        now: +16m{seconds}s
        "#
        )
    };
    check(
        &case(0),
        expect![[r#"
        wake at +16m20s
    "#]],
    );
    check(
        &case(20),
        expect![[r#"
            shows Running 16m20s/15m0s
            Stalled=True NoData: promQL[0]: no data at the deadline: NaN is no measurement on pod y (3 good measurements so far, 1 needed) (since +0s)
            item promQL[0] NoData (NoData) (3 good, 0 bad, 0 errors): no data at the deadline: NaN is no measurement on pod y (3 good measurements so far, 1 needed)
            wake at +16m40s
        "#]],
    );
}

#[test]
fn the_more_serious_problem_is_reported_once() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          conditions:
            Running: 'True Validating: the validation period of Deployment myapp-kanary-batman ended at 2026-01-01T12:15:00Z'
            Stalled: 'True NoData: promQL[0]: no data'
            Reconciling: 'False NoData: promQL[0]: no data'
          items: [{name: 'promQL[0]', reason: NoData, state: NoData, good: 3, bad: 0, errors: 0, message: no data}]
        seen: {canary: {available: +0s}, tallies: [{good: 3, errors: 4, silence: 1, last: 'Error connection refused', at: +16m20s}]}
        now: +16m21s
        "#,
        expect![[r#"
            shows Running 16m21s/15m0s
            Stalled=True Inconclusive: promQL[0]: 4 queries in a row could not be answered: connection refused (since +0s)
            item promQL[0] Inconclusive (Inconclusive) (3 good, 0 bad, 4 errors): 4 queries in a row could not be answered: connection refused
            wake at +16m40s
        "#]],
    );
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status:
          phase: Running
          conditions:
            Running: 'True Validating: the validation period of Deployment myapp-kanary-batman ended at 2026-01-01T12:15:00Z'
            Stalled: 'True Inconclusive: promQL[0]: 4 queries in a row'
            Reconciling: 'False Inconclusive: promQL[0]: 4 queries in a row'
          items: [{name: 'promQL[0]', reason: Inconclusive, state: Inconclusive, good: 3, bad: 0, errors: 4, message: 4 queries in a row}]
        seen: {canary: {available: +0s}, tallies: [{good: 3, silence: 2, last: 'NoData no series', at: +16m40s}]}
        now: +16m41s
        "#,
        expect![[r#"
            wake at +17m0s
        "#]],
    );
}

#[test]
fn two_answers_in_a_row_end_a_reported_error_and_one_among_errors_does_not() {
    let case = |answers: u32| {
        format!(
            r#"
        spec: {{validation: {{items: [{{promQL: {{prometheusService: 'p:9090', query: up, valueInRange: {{}}}}}}]}}}}
        status:
          phase: Running
          conditions: {{Stalled: 'True Inconclusive: promQL[0]: x', Reconciling: 'False Inconclusive: promQL[0]: x'}}
          items: [{{name: 'promQL[0]', reason: Inconclusive, state: Inconclusive, good: 3, bad: 0, errors: 4, message: x}}]
        seen: {{canary: {{available: +0s}}, tallies: [{{good: 4, answers: {answers}, last: 'Pass 0.2 on pod x', at: +2m}}]}}
        now: +2m1s
        "#
        )
    };
    check(
        &case(1),
        expect![[r#"
        wake at +2m20s
    "#]],
    );
    check(
        &case(2),
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
fn all_items_that_are_waited_for_are_named_at_once() {
    check(
        r#"
        spec:
          validation:
            items:
            - promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}
            - manual: {}
            - promQL: {prometheusService: 'p:9090', query: up, boolean: {}, minSamples: 5}
            - promQL: {prometheusService: 'p:9090', query: up, noResult: {}}
            - promQL: {prometheusService: 'p:9090', query: down, valueInRange: {}}
        status: {phase: Running}
        seen:
          canary: {available: +0s}
          tallies:
          - {last: 'NoData no series', at: +15m}
          - {}
          - {good: 4, last: 'Pass 1, which is good', at: +15m}
          - {errors: 4, last: 'Error connection refused', at: +15m}
          - {good: 45, last: 'Pass 0.2', at: +15m}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False Inconclusive: promQL[3]: 4 queries in a row could not be answered: connection refused; promQL[0]: no data at the deadline: no series (0 good measurements so far, 1 needed); manual[1]: waits for a person to set status to valid or invalid; promQL[2]: 4 good measurements at the deadline, 5 needed: goes on measuring
            Stalled=True Inconclusive: promQL[3]: 4 queries in a row could not be answered: connection refused; promQL[0]: no data at the deadline: no series (0 good measurements so far, 1 needed); manual[1]: waits for a person to set status to valid or invalid; promQL[2]: 4 good measurements at the deadline, 5 needed: goes on measuring
            item promQL[0] NoData (NoData): no data at the deadline: no series (0 good measurements so far, 1 needed)
            item manual[1] Pending: manual[1]: waits for a person to set status to valid or invalid
            item promQL[2] Good (TooFewSamples) (4 good, 0 bad, 0 errors): 4 good measurements at the deadline, 5 needed: goes on measuring
            item promQL[3] Inconclusive (Inconclusive) (0 good, 0 bad, 4 errors): 4 queries in a row could not be answered: connection refused
            item promQL[4] Good (45 good, 0 bad, 0 errors): 0.2
            wake at +15m20s
        "#]],
    );
}

#[test]
fn before_the_deadline_a_person_may_take_their_time() {
    check(
        r#"
        spec: {validation: {items: [{manual: {}}, {promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{}, {errors: 4, last: 'Error connection refused', at: +1m20s}]}
        now: +1m21s
        "#,
        expect![[r#"
            shows Running 1m21s/15m0s
            Reconciling=False Inconclusive: promQL[1]: 4 queries in a row could not be answered: connection refused
            Stalled=True Inconclusive: promQL[1]: 4 queries in a row could not be answered: connection refused
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
            item promQL[1] Inconclusive (Inconclusive) (0 good, 0 bad, 4 errors): 4 queries in a row could not be answered: connection refused
            wake at +1m40s
        "#]],
    );
}
