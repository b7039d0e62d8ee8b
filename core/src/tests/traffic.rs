//! `spec.traffic`: the requests that reach the canary.

use expect_test::expect;

use super::check;

#[test]
fn no_traffic_means_no_label_that_the_target_selects_by() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {app: myapp, version: v2}}}}}}
        show: [/spec/template/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac","version":"v2"}
        "#]],
    );
}

#[test]
fn source_service_puts_the_pods_behind_the_production_service() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, template: {spec: {template: {metadata: {labels: {tier: web}}}}}}
        seen: {service: {selector: {app: myapp, tier: web}}}
        show: [/spec/template/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"app":"myapp","…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac","tier":"web"}
        "#]],
    );
}

#[test]
fn source_kanary_service_has_a_service_of_its_own_with_the_production_ports_and_no_production_traffic() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        show: [/spec/ports, /spec/selector, /spec/template/metadata/labels]
        ",
        expect![[r#"
            create Service myapp-svc-kanary-batman
              ports: [{"port":80}]
              selector: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1"}
            create Deployment myapp-kanary-batman
              selector: {"matchLabels":{"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1"}}
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
        "#]],
    );
}

#[test]
fn source_both_has_the_two() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}}
        show: [/spec/template/metadata/labels]
        ",
        expect![[r#"
            create Service myapp-svc-kanary-batman
            create Deployment myapp-kanary-batman
              labels: {"app":"myapp","…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
        "#]],
    );
}

#[test]
fn the_canarys_own_service_can_be_named() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service, kanaryService: batcave}}
        ",
        expect![[r#"
            create Service batcave
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_canary_without_traffic_is_not_behind_any_service_of_the_namespace() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {app: myapp, team: heroes}}}}}}
        seen: {services: {heroes: {team: heroes}, villains: {team: villains}}}
        show: [/spec/template/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
        "#]],
    );
}

#[test]
fn a_service_that_is_there_is_not_created_again() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        seen: {kanaryService: {}}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_foreign_service_of_that_name_is_not_taken_over() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        seen: {kanaryService: {owner: robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Service myapp-svc-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Service myapp-svc-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            currentTraffic kanary-service myapp-svc myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn a_service_of_that_name_without_an_owner_is_not_taken_over() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service}}
        seen: {kanaryService: {owner: null}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: Service myapp-svc-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: Service myapp-svc-kanary-batman exists and has no owner, so it is not this Kanary's: rename one of the two, or delete it
            currentTraffic kanary-service myapp-svc myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn a_missing_production_service_is_an_error_and_creates_nothing() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {service: null}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceNotFound: Service myapp-svc does not exist: create it, or change spec.serviceName
            Scheduled=True ServiceNotFound: the canary is not judged before this is resolved: Service myapp-svc does not exist: create it, or change spec.serviceName
            currentTraffic service myapp-svc
        "#]],
    );
}

#[test]
fn a_missing_production_service_is_no_concern_of_a_canary_without_traffic() {
    check(
        "
        spec: {serviceName: myapp-svc}
        seen: {service: null}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_production_service_without_a_selector_is_an_error() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}}
        seen: {service: {selector: {}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True ServiceWithoutSelector: Service myapp-svc has no selector, so no pod can be put behind it
            Scheduled=True ServiceWithoutSelector: the canary is not judged before this is resolved: Service myapp-svc has no selector, so no pod can be put behind it
            currentTraffic both myapp-svc myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn source_service_without_a_service_name_is_refused() {
    check(
        "
        spec: {traffic: {source: service}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.traffic.source service needs spec.serviceName, the production Service: set it, or use source none
        "#]],
    );
}

#[test]
fn an_empty_service_name_is_none() {
    check(
        "
        spec: {serviceName: '', traffic: {source: both}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.traffic.source both needs spec.serviceName, the production Service: set it, or use source none
        "#]],
    );
}

#[test]
fn a_source_that_needs_a_route_reads_it_before_anything_is_created() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: mirror}}
        ",
        expect![[r#"
            read Route
        "#]],
    );
}

#[test]
fn the_canarys_own_service_must_not_be_the_production_service() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: kanary-service, kanaryService: myapp-svc}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.traffic.kanaryService is the production Service myapp-svc itself: choose another name
        "#]],
    );
}

#[test]
fn the_traffic_is_reported_once_the_run_is_running() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        seen: {canary: {available: +0s}}
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=True TrafficSet: the canary gets traffic from source service; the selector of Deployment myapp (app=myapp) selects the canary's pods too, because Service myapp-svc needs its labels: autoscalers of the target count them
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            currentTraffic service myapp-svc, initialDelay 0s, validationPeriod 15m0s, startTime -30s, availableAt +0s, validationStartTime +0s, deadline +15m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}

#[test]
fn behind_the_production_service_a_canary_keeps_only_what_that_service_selects_by() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, template: {spec: {template: {metadata: {labels: {release: blue, zone: east}}}}}}
        seen: {target: {selector: {app: myapp, release: blue}}}
        show: [/spec/template/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"app":"myapp","…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac","zone":"east"}
        "#]],
    );
}

#[test]
fn a_canary_that_the_targets_selector_does_not_match_needs_no_words() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, template: {spec: {template: {metadata: {labels: {release: blue}}}}}}
        seen: {target: {selector: {app: myapp, release: blue}}, canary: {available: +0s}, pods: [{labels: {app: myapp}}]}
        ",
        expect![[r#"
            phase Scheduled → Running, shows Running 0s/15m0s
            Scheduled=True Started: the run has started
            Activated=True CanaryAvailable: Deployment myapp-kanary-batman is available
            Traffic=True TrafficSet: the canary gets traffic from source service
            Running, Reconciling=True Validating: Deployment myapp-kanary-batman is judged until +15m0s
            currentTraffic service myapp-svc, initialDelay 0s, validationPeriod 15m0s, startTime -30s, availableAt +0s, validationStartTime +0s, deadline +15m0s
            item manual[0] Pending: manual[0]: waits for a person to set status to valid or invalid
        "#]],
    );
}
