//! ScaledObjects of KEDA, as `spec.scale.keda` asks for one.

use expect_test::expect;

use super::check;

#[test]
fn a_scaled_object_is_bound_to_the_canary_and_starts_with_its_minimum() {
    check(
        "
        spec: {scale: {keda: {minReplicaCount: 2, maxReplicaCount: 5, pollingInterval: 10, triggers: [{type: kafka}]}}}
        show: [/spec, /metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              spec: {"replicas":2,"selector":{"matchLabels":{"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1"}},"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0},"type":"RollingUpdate"},"template":{"metadata":{"labels":{"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}},"spec":{"containers":[{"image":"myapp:v2","name":"myapp"}]}}}
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
            create ScaledObject myapp-kanary-batman
              spec: {"maxReplicaCount":5,"minReplicaCount":2,"pollingInterval":10,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"myapp-kanary-batman"},"triggers":[{"type":"kafka"}]}
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/slot":"ac"}
        "#]],
    );
}

#[test]
fn a_canary_starts_with_one_pod_where_a_target_would_start_with_none() {
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}], advanced: {horizontalPodAutoscalerConfig: {behavior: {}}}}}}
        seen: {target: {replicas: 9}}
        show: [/spec/replicas, /spec/minReplicaCount, /spec/maxReplicaCount, /spec/advanced]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 1
            create ScaledObject myapp-kanary-batman
              minReplicaCount: 1
              maxReplicaCount: 100
              advanced: {"horizontalPodAutoscalerConfig":{"behavior":{}}}
        "#]],
    );
}

#[test]
fn the_number_of_pods_is_kedas_once_there_is_a_scaled_object() {
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}]}}}
        status: {phase: Running}
        seen: {canary: {available: +0s, replicas: 4}, scaledObject: {}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_foreign_scaled_object_of_that_name_is_not_taken_over() {
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}]}}}
        seen: {scaledObject: {owner: robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: ScaledObject myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: ScaledObject myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn a_foreign_scaled_object_of_that_name_does_not_matter_to_a_canary_that_needs_none() {
    check(
        "
        spec: {scale: {static: {replicas: 2}}}
        status: {phase: Running}
        seen: {canary: {available: +0s, replicas: 2}, scaledObject: {owner: robin}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_autoscaler_of_a_former_spec_goes_before_the_next_one_comes() {
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}]}}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, hpa: {}}
        now: +1m
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
        "#]],
    );
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 3}}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, scaledObject: {}}
        now: +1m
        ",
        expect![[r#"
            delete ScaledObject myapp-kanary-batman
        "#]],
    );
}

#[test]
fn while_keda_finishes_with_a_scaled_object_the_canary_gets_no_other_autoscaler() {
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 3}}}
        status: {phase: Running}
        seen: {canary: {available: +0s}, scaledObject: {deleting: true}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn at_the_end_the_scaled_object_goes_with_the_canary() {
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}]}}}
        status: {phase: Failed}
        seen: {canary: {}, scaledObject: {}}
        now: +1m
        ",
        expect![[r#"
            delete ScaledObject myapp-kanary-batman
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_retained_canary_keeps_no_scaled_object() {
    check(
        "
        spec: {rollout: {onFailure: retain}, scale: {keda: {triggers: [{type: kafka}]}}}
        status: {phase: Failed}
        seen: {canary: {}, scaledObject: {}}
        now: +1m
        ",
        expect![[r#"
            delete ScaledObject myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_canary_that_leaves_by_its_scale_loses_its_scaled_object_which_would_scale_it_up_again() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}, scale: {keda: {triggers: [{type: kafka}]}}}
        status: {phase: Failed}
        seen: {canary: {available: +0s}, pods: [{name: a, labels: {app: myapp}}], scaledObject: {}, attempts: {labels: {last: +1m}}}
        now: +1m
        ",
        expect![[r#"
            delete ScaledObject myapp-kanary-batman
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: no labels (since +0s)
            removed verdicts
        "#]],
    );
}

#[test]
fn where_keda_is_off_or_missing_the_run_says_so_and_creates_nothing() {
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}]}}}
        seen: {keda: off}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True KedaDisabled: spec.scale.keda is off in this installation: start the controller with --keda (keda.enabled in the values of the chart), or use another scale
            Scheduled=True KedaDisabled: the canary is not judged before this is resolved: spec.scale.keda is off in this installation: start the controller with --keda (keda.enabled in the values of the chart), or use another scale
            currentTraffic none
        "#]],
    );
    check(
        "
        spec: {scale: {keda: {triggers: [{type: kafka}]}}}
        seen: {keda: missing}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True KedaMissing: spec.scale.keda needs ScaledObjects of keda.sh/v1alpha1, and this cluster does not have the CustomResourceDefinition scaledobjects.keda.sh: install KEDA, or use another scale
            Scheduled=True KedaMissing: the canary is not judged before this is resolved: spec.scale.keda needs ScaledObjects of keda.sh/v1alpha1, and this cluster does not have the CustomResourceDefinition scaledobjects.keda.sh: install KEDA, or use another scale
            currentTraffic none
        "#]],
    );
}

#[test]
fn what_would_scale_a_canary_to_nothing_is_refused() {
    for (fields, why) in [
        (
            "minReplicaCount: 0",
            "minReplicaCount is 0, and a canary without pods proves nothing",
        ),
        (
            "minReplicaCount: -1",
            "spec.scale.keda.minReplicaCount is -1: use 1 or more",
        ),
        (
            "idleReplicaCount: 0",
            "spec.scale.keda.idleReplicaCount would scale the canary to 0",
        ),
        (
            "minReplicaCount: 101",
            "minReplicaCount 101 is greater than maxReplicaCount 100",
        ),
        (
            "minReplicaCount: 3, maxReplicaCount: 2",
            "minReplicaCount 3 is greater than maxReplicaCount 2",
        ),
        (
            "advanced: {restoreToOriginalReplicaCount: true}",
            "would scale a failed canary up again",
        ),
        (
            "advanced: {horizontalPodAutoscalerConfig: {name: web}}",
            "that another ScaledObject may have: remove it",
        ),
    ] {
        assert_refused(&format!("{{{fields}, triggers: [{{type: kafka}}]}}"), why);
    }
    assert_refused("{triggers: []}", "spec.scale.keda.triggers is empty");
}

#[test]
fn a_name_that_keda_would_refuse_is_refused_before_anything_is_created() {
    let problems = |name: &str| {
        let yaml = format!("{{kanary: {{name: {name}}}, spec: {{scale: {{keda: {{triggers: [{{type: kafka}}]}}}}}}}}");
        format!("{:?}", super::input::read(&yaml).kanary.spec.problems)
    };
    let prefix = "myapp-kanary-".len();
    assert!(!problems(&"x".repeat(54 - prefix)).contains("ScaledObject"));
    let why = problems(&"x".repeat(55 - prefix));
    assert!(why.contains("has 55 characters, and KEDA takes 54 at most"), "{why}");
}

fn assert_refused(keda: &str, why: &str) {
    let input = super::input::read(&format!("spec: {{scale: {{keda: {keda}}}}}"));
    let problems = format!("{:?}", input.kanary.spec.problems);
    assert!(problems.contains(why), "{keda}: {problems}");
}
