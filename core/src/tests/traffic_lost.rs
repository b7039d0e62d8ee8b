//! Periods in which the canary does not get the requested traffic.

use expect_test::expect;

use super::check;

#[test]
fn a_whole_period_begins_when_the_traffic_is_back() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}]}
        now: +10m
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +25m0s (since +0s)
            Traffic=True TrafficSet: the canary gets traffic from source service again since +10m0s, and a whole validation period counts from then; the selector of Deployment myapp (app=myapp) selects the canary's pods too, because Service myapp-svc needs its labels: autoscalers of the target count them
            deadline +25m0s
            wake at +25m0s
        "#]],
    );
}

#[test]
fn a_run_whose_traffic_is_back_at_its_deadline_does_not_pass_with_what_was_measured_without_it() {
    check(
        "
        spec:
          serviceName: myapp-svc
          traffic: {source: service}
          validation: {items: [{manual: {statusAfterDeadline: valid}}]}
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}]}
        now: +15m
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +30m0s (since +0s)
            Traffic=True TrafficSet: the canary gets traffic from source service again since +15m0s, and a whole validation period counts from then; the selector of Deployment myapp (app=myapp) selects the canary's pods too, because Service myapp-svc needs its labels: autoscalers of the target count them
            deadline +30m0s
            wake at +30m0s
        "#]],
    );
}

#[test]
fn the_deadline_is_not_reached_while_the_traffic_is_lost() {
    check(
        "
        spec:
          serviceName: myapp-svc
          traffic: {source: service}
          validation: {items: [{manual: {statusAfterDeadline: invalid}}]}
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: other}}]}
        now: +20m
        ",
        expect![[r#"
            shows Errored 20m0s/15m0s
            Reconciling=False TrafficLost: Service myapp-svc selects app=myapp, and the labels of Pod a of the canary have app=other, so the pod gets none of its requests: put the label back, or set spec.retry to another number to run again with the labels that the Service selects now
            Traffic=False TrafficLost: Service myapp-svc selects app=myapp, and the labels of Pod a of the canary have app=other, so the pod gets none of its requests: put the label back, or set spec.retry to another number to run again with the labels that the Service selects now (since +0s)
            Errored, Stalled=True TrafficLost: Service myapp-svc selects app=myapp, and the labels of Pod a of the canary have app=other, so the pod gets none of its requests: put the label back, or set spec.retry to another number to run again with the labels that the Service selects now
        "#]],
    );
}

#[test]
fn a_verdict_of_a_person_counts_as_soon_as_the_traffic_is_back() {
    check(
        "
        spec: {verdict: valid, serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {available: +0s}, confirmed: true, pods: [{name: a, labels: {app: myapp}}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 0s/15m0s
            Running=False VerdictValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Traffic=True TrafficSet: the canary gets traffic from source service again since +1m0s, and a whole validation period counts from then; the selector of Deployment myapp (app=myapp) selects the canary's pods too, because Service myapp-svc needs its labels: autoscalers of the target count them
            Succeeded=True VerdictValid: spec.verdict is valid
            verdicts {"present":{"verdict":"valid"}}, deadline +16m0s
        "#]],
    );
}

#[test]
fn a_canary_without_traffic_has_a_whole_period_without_requests() {
    check(
        "
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {available: +0s}}
        now: +10m
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +25m0s (since +0s)
            Traffic=False NoTrafficRequested: spec.traffic.source is none, so the canary gets no traffic (since +0s)
            deadline +25m0s
            wake at +25m0s
        "#]],
    );
}

#[test]
fn traffic_that_comes_back_while_the_canary_is_not_available_counts_once_it_is() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {unavailable: +9m}, pods: [{name: a, labels: {app: myapp}}]}
        now: +10m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_outage_that_ends_together_with_the_loss_of_traffic_is_known_from_its_beginning() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running, conditions: {Traffic: 'False TrafficLost: x'}}
        seen: {canary: {available: +9m, outage: {from: +8m}}, pods: [{name: a, labels: {app: myapp}}]}
        now: +10m
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +25m0s; 1m0s in which it was not available do not count (since +0s)
            Traffic=True TrafficSet: the canary gets traffic from source service again since +10m0s, and a whole validation period counts from then; the selector of Deployment myapp (app=myapp) selects the canary's pods too, because Service myapp-svc needs its labels: autoscalers of the target count them
            availableSince +9m0s, unavailableFor 1m0s, deadline +25m0s
            wake at +25m0s
        "#]],
    );
}
