//! Invalid Service names, and labels that are reserved for Kanary.

use expect_test::expect;

use super::check;

#[test]
fn a_kanary_with_a_dotted_name_needs_a_name_for_its_service() {
    check(
        "
        kanary: {name: batman.v2}
        spec: {serviceName: myapp-svc, traffic: {source: both}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: the canary's Service would be called myapp-svc-kanary-batman.v2, and the name of a Service has no dots: set spec.traffic.kanaryService, or rename the Kanary
        "#]],
    );
}

#[test]
fn a_kanary_with_a_dotted_name_may_name_its_service() {
    check(
        "
        kanary: {name: batman.v2}
        spec: {serviceName: myapp-svc, traffic: {source: both, kanaryService: batcave}}
        ",
        expect![[r#"
            create Service batcave
            create Deployment myapp-kanary-batman.v2
        "#]],
    );
}

#[test]
fn a_kanary_with_a_dotted_name_that_makes_no_service_runs() {
    check(
        "
        kanary: {name: batman.v2}
        spec: {serviceName: myapp-svc, traffic: {source: service}}
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman.v2
        "#]],
    );
}

#[test]
fn a_name_that_no_service_can_have_is_refused() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both, kanaryService: Bat_Cave}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.traffic.kanaryService Bat_Cave is no name of a Service: use lower-case letters, digits and -, and begin with a letter
        "#]],
    );
}

#[test]
fn a_template_with_a_label_of_kanarys_is_refused() {
    check(
        "
        spec: {template: {metadata: {labels: {kanary.k8s-operators.dev/iskanary: 'true'}}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.template.metadata.labels has kanary.k8s-operators.dev/iskanary, and only Kanary sets labels of kanary.k8s-operators.dev: remove it
        "#]],
    );
}

#[test]
fn a_pod_template_with_a_label_of_kanarys_is_refused() {
    check(
        "
        spec: {template: {spec: {template: {metadata: {labels: {kanary.k8s-operators.dev/name: robin}}}}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.template.spec.template.metadata.labels has kanary.k8s-operators.dev/name, and only Kanary sets labels of kanary.k8s-operators.dev: remove it
        "#]],
    );
}

#[test]
fn a_target_whose_pods_carry_the_labels_of_a_canary_is_refused() {
    check(
        "
        seen: {target: {podLabels: {app: myapp, kanary.k8s-operators.dev/name: robin}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetIsCanary: the pods of Deployment myapp carry the label kanary.k8s-operators.dev/name, which marks the pods of a canary: remove it from the pod template of the Deployment
            Scheduled=True TargetIsCanary: the canary is not judged before this is resolved: the pods of Deployment myapp carry the label kanary.k8s-operators.dev/name, which marks the pods of a canary: remove it from the pod template of the Deployment
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn a_target_that_is_a_canary_is_refused() {
    check(
        "
        seen: {target: {owner: uid-robin, ownerName: KanaryDeployment/robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetIsCanary: Deployment myapp is the canary of KanaryDeployment/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            Scheduled=True TargetIsCanary: the canary is not judged before this is resolved: Deployment myapp is the canary of KanaryDeployment/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn the_target_of_a_front_end_is_refused_and_not_called_a_canary() {
    check(
        "
        seen: {target: {owner: uid-robin, ownerName: CanaryDeployment.kanarini.nilebox.github.com/robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetOwned: Deployment myapp belongs to CanaryDeployment.kanarini.nilebox.github.com/robin, which promotes to it: put the new version there, or name another Deployment
            Scheduled=True TargetOwned: the canary is not judged before this is resolved: Deployment myapp belongs to CanaryDeployment.kanarini.nilebox.github.com/robin, which promotes to it: put the new version there, or name another Deployment
            currentTraffic none
            wake at +10s
        "#]],
    );
    check(
        "
        seen:
          target: {owner: uid-robin, ownerName: CanaryDeployment.kanarini.nilebox.github.com/robin}
          canaryOf: CanaryDeployment.kanarini.nilebox.github.com/robin
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetIsCanary: Deployment myapp is the canary of CanaryDeployment.kanarini.nilebox.github.com/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            Scheduled=True TargetIsCanary: the canary is not judged before this is resolved: Deployment myapp is the canary of CanaryDeployment.kanarini.nilebox.github.com/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn a_target_with_the_label_of_a_canary_is_refused_for_every_owner() {
    check(
        "
        seen: {target: {labels: {kanary.k8s-operators.dev/iskanary: 'true'}}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetIsCanary: Deployment myapp is a canary, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            Scheduled=True TargetIsCanary: the canary is not judged before this is resolved: Deployment myapp is a canary, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            currentTraffic none
            wake at +10s
        "#]],
    );
}

#[test]
fn a_missing_target_that_will_be_another_kanarys_canary_is_not_created() {
    check(
        "
        seen: {target: null, canaryOf: KanaryDeployment/robin}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TargetIsCanary: Deployment myapp is the canary of KanaryDeployment/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            Scheduled=True TargetIsCanary: the canary is not judged before this is resolved: Deployment myapp is the canary of KanaryDeployment/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_target_that_became_a_canary_meanwhile_is_not_promoted_to() {
    check(
        "
        status: {phase: Succeeded}
        seen: {canary: {available: +0s}, live: {}, target: {owner: uid-robin, ownerName: KanaryDeployment/robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Reconciling=False TargetIsCanary: Deployment myapp is the canary of KanaryDeployment/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            Errored, Stalled=True TargetIsCanary: Deployment myapp is the canary of KanaryDeployment/robin, and a canary is not promoted to: create another Kanary whose spec.deploymentName is the Deployment that serves production
            removed verdicts
            wake at +10s
        "#]],
    );
}

#[test]
fn the_service_of_a_front_end_is_refused() {
    check(
        "
        spec: {serviceName: hello, traffic: {source: kanary-service}}
        seen: {service: {ownerName: CanaryApp.canary.atze.io/hello}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TrafficOwned: Service hello belongs to CanaryApp.canary.atze.io/hello, which has its own pods behind it: name the Service of Deployment myapp in spec.serviceName, or put the new version into that object
            Scheduled=True TrafficOwned: the canary is not judged before this is resolved: Service hello belongs to CanaryApp.canary.atze.io/hello, which has its own pods behind it: name the Service of Deployment myapp in spec.serviceName, or put the new version into that object
            currentTraffic kanary-service hello hello-kanary-batman
        "#]],
    );
    check(
        "
        spec: {serviceName: hello, traffic: {source: service}}
        seen: {service: {ownerName: CanaryApp.canary.atze.io/hello}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True TrafficOwned: Service hello belongs to CanaryApp.canary.atze.io/hello, which has its own pods behind it: name the Service of Deployment myapp in spec.serviceName, or put the new version into that object
            Scheduled=True TrafficOwned: the canary is not judged before this is resolved: Service hello belongs to CanaryApp.canary.atze.io/hello, which has its own pods behind it: name the Service of Deployment myapp in spec.serviceName, or put the new version into that object
            currentTraffic service hello
        "#]],
    );
}
