//! `promQL` items at the deadline: missing data is not success.

use expect_test::expect;

use super::check;

#[test]
fn at_the_deadline_one_more_measurement_is_due() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 40, last: 'Pass 0.2 on pod x', at: +14m50s}]}
        now: +15m
        "#,
        expect![[r#"
            check items [0]
            wake at +15m15s
        "#]],
    );
}

#[test]
fn a_good_measurement_at_the_deadline_ends_the_run_well() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 41, last: 'Pass 0.2 on pod x', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m1s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
            item promQL[0] Good (41 good, 0 bad, 0 errors): 0.2 on pod x
        "#]],
    );
}

#[test]
fn a_tolerated_bad_measurement_at_the_deadline_waits_for_a_good_one() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, failureLimit: 3}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 41, bad: 1, last: 'Fail 2 outside [0, 1] on pod x', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True LastMeasurementBad: promQL[0]: waits for a good measurement after the deadline: 2 outside [0, 1] on pod x (since +0s)
            item promQL[0] Bad (LastMeasurementBad) (41 good, 1 bad, 0 errors): waits for a good measurement after the deadline: 2 outside [0, 1] on pod x
            wake at +15m20s
        "#]],
    );
}

#[test]
fn no_data_at_the_deadline_is_not_success() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{last: 'NoData no series of a ready canary pod', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False NoData: promQL[0]: no data at the deadline: no series of a ready canary pod (0 good measurements so far, 1 needed)
            Stalled=True NoData: promQL[0]: no data at the deadline: no series of a ready canary pod (0 good measurements so far, 1 needed)
            item promQL[0] NoData (NoData): no data at the deadline: no series of a ready canary pod (0 good measurements so far, 1 needed)
            wake at +15m20s
        "#]],
    );
}

#[test]
fn no_data_at_the_deadline_after_good_measurements_is_not_success_either() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 40, last: 'NoData no series', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False NoData: promQL[0]: no data at the deadline: no series (40 good measurements so far, 1 needed)
            Stalled=True NoData: promQL[0]: no data at the deadline: no series (40 good measurements so far, 1 needed)
            item promQL[0] NoData (NoData) (40 good, 0 bad, 0 errors): no data at the deadline: no series (40 good measurements so far, 1 needed)
            wake at +15m20s
        "#]],
    );
}

#[test]
fn on_no_data_fail_fails_the_run_at_the_deadline() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{empty: 45, last: 'NoData no series of a ready canary pod', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 15m1s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True NoData: promQL[0]: no series of a ready canary pod (0 good measurements at the deadline, 1 needed, and onNoData is fail); to try again, change spec.template, or set spec.retry to another number
            completedAt +15m1s, failedTemplates ["<hash>"]
            item promQL[0] NoData: no series of a ready canary pod
        "#]],
    );
}

#[test]
fn on_no_data_fail_does_not_fail_the_run_before_the_deadline() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{last: 'NoData no series', at: +20s}]}
        now: +21s
        "#,
        expect![[r#"
            wake at +40s
        "#]],
    );
}

#[test]
fn on_no_data_fail_holds_when_measurements_are_missing_through_our_fault() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{resumed: true, last: 'NoData no series', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False NoData: promQL[0]: no data at the deadline: no series (0 good measurements so far, 1 needed)
            Stalled=True NoData: promQL[0]: no data at the deadline: no series (0 good measurements so far, 1 needed)
            item promQL[0] NoData (NoData): no data at the deadline: no series (0 good measurements so far, 1 needed)
            wake at +15m20s
        "#]],
    );
}

#[test]
fn too_few_good_measurements_at_the_deadline_hold_the_run() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, minSamples: 5}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 4, last: 'Pass 0.2 on pod x', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True TooFewSamples: promQL[0]: 4 good measurements at the deadline, 5 needed: goes on measuring (since +0s)
            item promQL[0] Good (TooFewSamples) (4 good, 0 bad, 0 errors): 4 good measurements at the deadline, 5 needed: goes on measuring
            wake at +15m20s
        "#]],
    );
}

#[test]
fn data_that_comes_after_the_deadline_ends_the_run_well() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, minSamples: 5}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 5, last: 'Pass 0.2 on pod x', at: +15m20s}]}
        now: +15m20s
        "#,
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 15m20s/15m0s
            Running=False AllItemsGood: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True AllItemsGood: every validation item is good at the deadline
            item promQL[0] Good (5 good, 0 bad, 0 errors): 0.2 on pod x
        "#]],
    );
}

#[test]
fn an_error_at_the_deadline_neither_fails_nor_promotes() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 40, errors: 1, last: 'Error connection refused', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            wake at +15m15s
        "#]],
    );
}

#[test]
fn on_no_data_fail_holds_when_there_were_enough_good_measurements_before() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}, onNoData: fail}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 40, last: 'NoData no series', at: +15m}]}
        now: +15m1s
        "#,
        expect![[r#"
            shows Running 15m1s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False NoData: promQL[0]: no data at the deadline: no series (40 good measurements so far, 1 needed)
            Stalled=True NoData: promQL[0]: no data at the deadline: no series (40 good measurements so far, 1 needed)
            item promQL[0] NoData (NoData) (40 good, 0 bad, 0 errors): no data at the deadline: no series (40 good measurements so far, 1 needed)
            wake at +15m20s
        "#]],
    );
}

#[test]
fn a_run_that_fails_after_it_lacked_data_no_longer_says_that_it_lacks_data() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running, conditions: {Reconciling: 'False NoData: no data', Stalled: 'True NoData: no data'}}
        seen: {canary: {available: +0s}, tallies: [{bad: 1, last: 'Fail 3 above 1', at: +16m}]}
        now: +16m1s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 16m1s/15m0s, ended Activated, Running
            Reconciling=False RunFailed: the run has ended (since +0s)
            Stalled=True PromQLFailed: promQL[0]: 3 above 1; to try again, change spec.template, or set spec.retry to another number (since +0s)
            Failed=True PromQLFailed: promQL[0]: 3 above 1; to try again, change spec.template, or set spec.retry to another number
            completedAt +16m1s, failedTemplates ["<hash>"]
            item promQL[0] Bad (0 good, 1 bad, 0 errors): 3 above 1
        "#]],
    );
}

#[test]
fn a_failure_limit_that_was_lowered_is_named_with_the_measurements_that_exceed_it() {
    check(
        r#"
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, valueInRange: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 9, bad: 3, last: 'Pass 0.5 within [0, 1]', at: +5m}]}
        now: +5m1s
        "#,
        expect![[r#"
            phase Running → Failed, shows Failed 5m1s/15m0s, ended Activated, Running, Reconciling
            Failed, Stalled=True PromQLFailed: promQL[0]: 3 bad measurements, 0 tolerated; the last measurement: 0.5 within [0, 1]; to try again, change spec.template, or set spec.retry to another number
            completedAt +5m1s, failedTemplates ["<hash>"]
            item promQL[0] Bad (9 good, 3 bad, 0 errors): 0.5 within [0, 1]
        "#]],
    );
}
