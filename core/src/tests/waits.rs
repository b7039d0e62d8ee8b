//! Everything that delays a verdict is reported together and correctly.

use expect_test::expect;

use super::check;

#[test]
fn past_its_deadline_a_run_does_not_say_until_when_it_is_judged() {
    check(
        "
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1h
        ",
        expect![[r#"
            shows Running 1h0m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (since +0s)
        "#]],
    );
}

#[test]
fn a_measurement_at_the_deadline_may_take_a_while() {
    check(
        "
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 20, last: Pass, at: +14m40s, pending: true}]}
        now: +15m5s
        ",
        expect![[r#"
            wake at +15m15s
        "#]],
    );
}

#[test]
fn a_measurement_at_the_deadline_that_is_missing_is_mentioned() {
    check(
        "
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{good: 20, last: Pass, at: +14m40s, pending: true}]}
        now: +15m15s
        ",
        expect![[r#"
            shows Running 15m15s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True Measuring: promQL[0]: waits for the measurement at the deadline (since +0s)
            item promQL[0] Good (20 good, 0 bad, 0 errors)
            wake at +15m20s
        "#]],
    );
}

#[test]
fn all_obstacles_are_reported_at_once() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}, scale: {hpa: {maxReplicas: 2}}, template: {spec: {template: {metadata: {labels: {app: other}}}}}}
        seen: {service: null, canary: {owner: robin}, kanaryService: {owner: robin}, hpa: {owner: robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TemplateMismatch: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=myapp), so it could not be promoted: add them; Service myapp-svc does not exist: create it, or change spec.serviceName; Deployment myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it; Service myapp-svc-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it; HorizontalPodAutoscaler myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            Scheduled=True TemplateMismatch: the canary is not judged before this is resolved: the labels of spec.template.spec.template.metadata do not match the selector of Deployment myapp (app=myapp), so it could not be promoted: add them; Service myapp-svc does not exist: create it, or change spec.serviceName; Deployment myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it; Service myapp-svc-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it; HorizontalPodAutoscaler myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            currentTraffic both myapp-svc myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn all_that_a_run_waits_for_is_reported_at_once() {
    check(
        "
        spec: {validation: {items: [{manual: {}}, {manual: {}}, {promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, tallies: [{}, {}, {errors: 4, last: Error no answer, at: +15m}]}
        now: +15m
        ",
        expect![[r#"
            shows Running 15m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=False Inconclusive: promQL[2]: 4 queries in a row could not be answered: no answer; manual[0]: waits for a person to set status to valid or invalid; manual[1]: waits for a person to set status to valid or invalid
            Stalled=True Inconclusive: promQL[2]: 4 queries in a row could not be answered: no answer; manual[0]: waits for a person to set status to valid or invalid; manual[1]: waits for a person to set status to valid or invalid
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
            item manual[1] Pending: manual[1]: waits for a person to set status to valid or invalid
            item promQL[2] Inconclusive (Inconclusive) (0 good, 0 bad, 4 errors): 4 queries in a row could not be answered: no answer
            wake at +15m20s
        "#]],
    );
}

#[test]
fn nothing_is_asked_about_a_canary_that_is_not_there() {
    check(
        "
        spec: {validation: {items: [{promQL: {prometheusService: 'p:9090', query: up, boolean: {}}}]}}
        status: {phase: Running}
        seen: {tallies: [{}]}
        now: +25s
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
            wake at +15m0s
        "#]],
    );
}
