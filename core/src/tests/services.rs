//! Service selectors: before a canary is created, during its validation, and before the target is promoted.

use expect_test::expect;

use super::check;

#[test]
fn a_production_service_that_selects_a_label_which_the_template_lacks_creates_nothing() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: {selector: {app: myapp, track: stable}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceMismatch: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have no track: set that label in the template, or remove it from the selector of the Service
            Scheduled=True ServiceMismatch: the canary is not judged before this is resolved: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have no track: set that label in the template, or remove it from the selector of the Service
            currentTraffic service myapp-svc
        "#]],
    );
}

#[test]
fn a_production_service_that_selects_another_value_than_the_templates_creates_nothing() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}, template: {spec: {template: {metadata: {labels: {track: canary}}}}}}
        seen: {service: {selector: {app: myapp, track: stable}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceMismatch: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have track=canary: set that label in the template, or remove it from the selector of the Service
            Scheduled=True ServiceMismatch: the canary is not judged before this is resolved: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have track=canary: set that label in the template, or remove it from the selector of the Service
            currentTraffic both myapp-svc myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn a_service_that_would_lose_the_target_stands_in_the_way_whatever_the_traffic_source() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {track: canary}}}}}}
        seen: {target: {podLabels: {app: myapp, track: stable}}, services: {by-track: {track: stable}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceMismatch: Service by-track selects track=stable, which the pods of Deployment myapp have now, and the labels of spec.template.spec.template.metadata have track=canary, so the promotion would take the target out of that Service: set that label in the template, or remove it from the selector of the Service
            Scheduled=True ServiceMismatch: the canary is not judged before this is resolved: Service by-track selects track=stable, which the pods of Deployment myapp have now, and the labels of spec.template.spec.template.metadata have track=canary, so the promotion would take the target out of that Service: set that label in the template, or remove it from the selector of the Service
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn a_service_that_did_not_select_the_target_cannot_lose_it() {
    check(
        "
        seen: {target: {podLabels: {app: myapp}}, services: {by-track: {track: stable}}}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_dry_run_takes_no_service_away_from_the_target() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {track: canary}}}}}, rollout: {mode: dry-run}}
        seen: {target: {podLabels: {app: myapp, track: stable}}, services: {by-track: {track: stable}}}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_selector_that_is_narrowed_while_the_run_is_running_holds_it() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{labels: {app: myapp}}], service: {selector: {app: myapp, track: stable}}}
        now: +16m
        ",
        expect![[r#"
            shows Errored 16m0s/15m0s
            Traffic, Reconciling=False ServiceMismatch: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have no track: set that label in the template, or remove it from the selector of the Service
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Errored=True ServiceMismatch: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have no track: set that label in the template, or remove it from the selector of the Service
            Stalled=True ServiceMismatch: Service myapp-svc selects track=stable, and the labels of spec.template.spec.template.metadata have no track: set that label in the template, or remove it from the selector of the Service; manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn traffic_that_is_as_asked_for_again_is_reported() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{manual: {}}]}}
        status: {phase: Running, conditions: {Errored: 'True ServiceMismatch: x', Stalled: 'True ServiceMismatch: x', Reconciling: 'False ServiceMismatch: x', Traffic: 'False ServiceMismatch: x'}}
        seen: {canary: {available: +0s}, pods: [{labels: {app: myapp}}]}
        now: +1m
        ",
        expect![[r#"
            shows Running 0s/15m0s
            Running=True Validating: Deployment myapp-kanary-batman is judged until +16m0s (since +0s)
            Errored=False Resolved: what was wrong is resolved
            Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +16m0s
            Stalled=False Resolved: nothing is in the way any more
            Traffic=True TrafficSet: the canary gets traffic from source service again since +1m0s, and a whole validation period counts from then; the selector of Deployment myapp (app=myapp) selects the canary's pods too, because Service myapp-svc needs its labels: autoscalers of the target count them
            deadline +16m0s
            wake at +16m0s
        "#]],
    );
}

#[test]
fn before_the_promotion_every_service_of_the_target_is_checked_again() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {track: canary}}}}}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}, target: {podLabels: {app: myapp, track: stable}}, services: {by-track: {track: stable}}}
        now: +1s
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False ServiceMismatch: Service by-track selects track=stable, which the pods of Deployment myapp have now, and the labels of spec.template.spec.template.metadata have track=canary, so the promotion would take the target out of that Service: set that label in the template, or remove it from the selector of the Service
            Errored, Stalled=True ServiceMismatch: Service by-track selects track=stable, which the pods of Deployment myapp have now, and the labels of spec.template.spec.template.metadata have track=canary, so the promotion would take the target out of that Service: set that label in the template, or remove it from the selector of the Service
            removed verdicts
            wake at +11s
        "#]],
    );
}

#[test]
fn a_promotion_goes_on_once_the_service_keeps_the_target() {
    check(
        "
        status: {phase: Succeeded, conditions: {Errored: 'True ServiceMismatch: x', Stalled: 'True ServiceMismatch: x', Reconciling: 'False ServiceMismatch: x'}}
        seen: {canary: {available: +0s}, live: {}, services: {front: {app: myapp}}}
        now: +1s
        ",
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn a_canary_pod_that_left_the_production_service_holds_the_run() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}, {name: b, labels: {app: other}}]}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic, Reconciling=False TrafficLost: Service myapp-svc selects app=myapp, and the labels of Pod b of the canary have app=other, so the pod gets none of its requests: put the label back, or set spec.retry to another number to run again with the labels that the Service selects now
            Errored, Stalled=True TrafficLost: Service myapp-svc selects app=myapp, and the labels of Pod b of the canary have app=other, so the pod gets none of its requests: put the label back, or set spec.retry to another number to run again with the labels that the Service selects now
            verdicts {"present":{"valid":1}}
            item manual[0] Good
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_canary_pod_that_is_not_ready_yet_holds_nothing() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}, {name: b, ready: false}]}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1m0s/15m0s
            Running=False ManualValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True ManualValid: a manual item is valid and every other item agrees
            verdicts {"present":{"valid":1}}
            item manual[0] Good
        "#]],
    );
}

#[test]
fn a_service_that_sends_requests_to_a_canary_without_traffic_holds_the_run() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {version: v2}}], services: {by-version: {version: v2}}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic=False TrafficLost: Service by-version selects Pod a of the canary (version=v2), and spec.traffic.source none asks for no such requests: narrow the selector of the Service, or set spec.retry to another number to run again without these labels (since +0s)
            Reconciling=False TrafficLost: Service by-version selects Pod a of the canary (version=v2), and spec.traffic.source none asks for no such requests: narrow the selector of the Service, or set spec.retry to another number to run again without these labels
            Errored, Stalled=True TrafficLost: Service by-version selects Pod a of the canary (version=v2), and spec.traffic.source none asks for no such requests: narrow the selector of the Service, or set spec.retry to another number to run again without these labels
            verdicts {"present":{"valid":1}}
            item manual[0] Good
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_service_about_canaries_is_no_production_traffic() {
    check(
        "
        spec: {validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {kanary.k8s-operators.dev/name: batman}}], services: {mine: {kanary.k8s-operators.dev/name: batman}}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Succeeded, shows Succeeded 1m0s/15m0s
            Running=False ManualValid: the verdict is good
            Reconciling=True Promoting: Deployment myapp gets the template, and the run ends once all its replicas run it (since +0s)
            Succeeded=True ManualValid: a manual item is valid and every other item agrees
            verdicts {"present":{"valid":1}}
            item manual[0] Good
        "#]],
    );
}

#[test]
fn an_own_service_that_a_user_edited_holds_the_run() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], kanaryService: {}, kanarySelector: {app: myapp}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic, Reconciling=False TrafficLost: Service myapp-svc-kanary-batman, the canary's own, selects app=myapp instead of kanary.k8s-operators.dev/iskanary=true,kanary.k8s-operators.dev/kind=KanaryDeployment,kanary.k8s-operators.dev/name=batman,kanary.k8s-operators.dev/run=<hash>-1: delete it, and it is made again
            Errored, Stalled=True TrafficLost: Service myapp-svc-kanary-batman, the canary's own, selects app=myapp instead of kanary.k8s-operators.dev/iskanary=true,kanary.k8s-operators.dev/kind=KanaryDeployment,kanary.k8s-operators.dev/name=batman,kanary.k8s-operators.dev/run=<hash>-1: delete it, and it is made again
            verdicts {"present":{"valid":1}}
            item manual[0] Good
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_own_service_that_is_going_holds_the_run_until_it_is_made_again() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}, validation: {items: [{manual: {status: valid}}]}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, pods: [{name: a}], kanaryService: {deleting: true}}
        now: +1m
        ",
        expect![[r#"
            shows Errored 1m0s/15m0s
            Traffic, Reconciling=False TrafficLost: Service myapp-svc-kanary-batman, the canary's own, is being deleted: it is made again once it is gone
            Errored, Stalled=True TrafficLost: Service myapp-svc-kanary-batman, the canary's own, is being deleted: it is made again once it is gone
            verdicts {"present":{"valid":1}}
            item manual[0] Good
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_production_service_without_ports_has_none_for_the_canarys_own() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        seen: {service: {ports: []}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceWithoutPorts: Service myapp-svc has no ports, so the canary's own Service cannot have the same: add them, or use spec.traffic.source service
            Scheduled=True ServiceWithoutPorts: the canary is not judged before this is resolved: Service myapp-svc has no ports, so the canary's own Service cannot have the same: add them, or use spec.traffic.source service
            currentTraffic kanary-service myapp-svc myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn a_headless_production_service_without_ports_takes_a_canary_all_the_same() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: {ports: []}}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_production_service_of_type_external_name_takes_no_pod() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: {external: true}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceWithoutSelector: Service myapp-svc is of type ExternalName, so no pod can be put behind it: name another in spec.serviceName
            Scheduled=True ServiceWithoutSelector: the canary is not judged before this is resolved: Service myapp-svc is of type ExternalName, so no pod can be put behind it: name another in spec.serviceName
            currentTraffic service myapp-svc
        "#]],
    );
}

#[test]
fn a_production_service_that_is_being_deleted_is_none() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: {deleting: true}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceNotFound: Service myapp-svc is being deleted: create it again, or change spec.serviceName
            Scheduled=True ServiceNotFound: the canary is not judged before this is resolved: Service myapp-svc is being deleted: create it again, or change spec.serviceName
            currentTraffic service myapp-svc
        "#]],
    );
}

#[test]
fn a_service_in_front_of_canaries_is_no_production_service() {
    check(
        "
        spec: {serviceName: canaries, traffic: {source: service}}
        seen: {service: {selector: {kanary.k8s-operators.dev/name: robin}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceMismatch: Service canaries selects pods of canaries (kanary.k8s-operators.dev/name=robin), so it is not in front of Deployment myapp: name the production Service in spec.serviceName
            Scheduled=True ServiceMismatch: the canary is not judged before this is resolved: Service canaries selects pods of canaries (kanary.k8s-operators.dev/name=robin), so it is not in front of Deployment myapp: name the production Service in spec.serviceName
            currentTraffic service canaries
        "#]],
    );
}

#[test]
fn a_bad_verdict_is_not_held_up_by_a_service() {
    check(
        "
        spec: {verdict: invalid, template: {spec: {template: {metadata: {labels: {track: canary}}}}}}
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}, target: {podLabels: {app: myapp, track: stable}}, services: {by-track: {track: stable}}}
        now: +1s
        ",
        expect![[r#"
            phase Succeeded → Failed, shows Failed 1s/15m0s, ended Activated, Reconciling
            Running=False RunFailed: spec.verdict was valid, and the run failed afterwards: the condition Failed says why (since +0s)
            Succeeded=False VerdictInvalid: spec.verdict is invalid
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1s, failedTemplates ["<hash>"]
        "#]],
    );
}
