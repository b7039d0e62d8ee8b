//! `spec.scale`: the number of canary pods.

use expect_test::expect;

use super::check;

#[test]
fn one_replica_is_the_default() {
    check(
        "
        show: [/spec/replicas]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 1
        "#]],
    );
}

#[test]
fn a_static_number_is_taken_as_it_is() {
    check(
        "
        spec: {scale: {static: {replicas: 3}}}
        show: [/spec/replicas]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 3
        "#]],
    );
}

#[test]
fn the_replicas_of_the_template_are_the_targets_and_not_the_canarys() {
    check(
        "
        spec: {template: {spec: {replicas: 7}}}
        show: [/spec/replicas]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 1
        "#]],
    );
}

#[test]
fn a_percentage_is_of_the_targets_replicas_and_rounded_up() {
    check(
        "
        spec: {scale: {percent: {value: 20}}}
        seen: {target: {replicas: 6}}
        show: [/spec/replicas]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 2
        "#]],
    );
}

#[test]
fn a_percentage_follows_the_target_up() {
    check(
        "
        spec: {scale: {percent: {value: 20, max: 10}}}
        status: {phase: Running}
        seen: {target: {replicas: 100}, canary: {available: +0s, replicas: 1}}
        now: +1m
        ",
        expect![[r#"
            scale myapp-kanary-batman to 10
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_percentage_follows_the_target_down_to_its_minimum() {
    check(
        "
        spec: {scale: {percent: {value: 20, min: 2}}}
        status: {phase: Running}
        seen: {target: {replicas: 1}, canary: {available: +0s, replicas: 5}}
        now: +1m
        ",
        expect![[r#"
            scale myapp-kanary-batman to 2
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_percentage_of_a_target_without_replicas_is_one_pod() {
    check(
        "
        spec: {scale: {percent: {value: 20}}}
        seen: {target: {replicas: 0}}
        show: [/spec/replicas]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 1
        "#]],
    );
}

#[test]
fn a_static_canary_does_not_follow_the_target() {
    check(
        "
        spec: {scale: {static: {replicas: 2}}}
        status: {phase: Running}
        seen: {target: {replicas: 50}, canary: {available: +0s, replicas: 2}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn an_autoscaler_is_bound_to_the_canary_and_looks_at_the_cpu_by_default() {
    check(
        "
        spec: {scale: {hpa: {minReplicas: 2, maxReplicas: 5}}}
        show: [/spec/replicas, /spec/scaleTargetRef, /spec/minReplicas, /spec/maxReplicas, /spec/metrics]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              replicas: 2
            create HorizontalPodAutoscaler myapp-kanary-batman
              scaleTargetRef: {"apiVersion":"apps/v1","kind":"Deployment","name":"myapp-kanary-batman"}
              minReplicas: 2
              maxReplicas: 5
              metrics: [{"resource":{"name":"cpu","target":{"averageUtilization":80,"type":"Utilization"}},"type":"Resource"}]
        "#]],
    );
}

const ASTRAY: &str = "
    spec: {scale: {hpa: {maxReplicas: 5}}}
    status: {phase: PHASE}
    seen: {canary: {available: +0s}, live: {}, hpa: {scales: Deployment/myapp}, MORE}
    now: +15m
    ";

#[test]
fn an_autoscaler_that_somebody_made_scale_production_is_removed_before_anything_is_judged() {
    check(
        &ASTRAY.replace("PHASE", "Running").replace("MORE", ""),
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
        "#]],
    );
    check(
        &ASTRAY.replace("PHASE", "Succeeded").replace("MORE", ""),
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
        "#]],
    );
    check(
        &ASTRAY.replace("PHASE", "Running").replace("MORE", "confirmed: false"),
        expect![[r#"
            read LiveKanary
        "#]],
    );
    check(
        &ASTRAY.replace("PHASE", "Failed").replace("MORE", ""),
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
            delete Deployment myapp-kanary-batman
        "#]],
    );
    // An unsound spec, such as this one, does not say what is wanted, and what production is scaled by is known all the same.
    check(
        &ASTRAY
            .replace("PHASE", "Running")
            .replace("maxReplicas: 5", "maxReplicas: 0")
            .replace("MORE", ""),
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
        "#]],
    );
}

#[test]
fn an_autoscaler_of_somebody_else_is_left_alone_whatever_it_scales() {
    check(
        &ASTRAY
            .replace("PHASE", "Succeeded")
            .replace("hpa: {scales", "hpa: {owner: other, scales")
            .replace("MORE", ""),
        expect![[r#"
            set template of myapp from t1 to myapp:v2, by uid-batman/<hash>-1
        "#]],
    );
}

#[test]
fn an_autoscaler_that_scales_the_canary_is_left_alone() {
    let own = ASTRAY.replace("Deployment/myapp", "Deployment/myapp-kanary-batman");
    check(
        &own.replace("PHASE", "Running").replace("MORE", ""),
        expect![[r#"
            shows Running 15m0s/15m0s
            Running=True Validating: the validation period of Deployment myapp-kanary-batman ended at +15m0s (since +0s)
            Reconciling=True WaitingForManual: manual[0]: waits for a person to set status to valid or invalid (since +0s)
        "#]],
    );
}

#[test]
fn an_autoscaler_takes_metrics_and_behaviour_as_they_were_written() {
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 5, metrics: [{type: Pods}], behavior: {scaleDown: {selectPolicy: Disabled}}}}}
        seen: {canary: {}}
        show: [/spec/minReplicas, /spec/metrics, /spec/behavior]
        ",
        expect![[r#"
            create HorizontalPodAutoscaler myapp-kanary-batman
              minReplicas: 1
              metrics: [{"type":"Pods"}]
              behavior: {"scaleDown":{"selectPolicy":"Disabled"}}
            wake at +9m30s
        "#]],
    );
}

#[test]
fn the_number_of_pods_is_the_autoscalers_once_there_is_one() {
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 5}}}
        status: {phase: Running}
        seen: {canary: {available: +0s, replicas: 4}, hpa: {}}
        now: +1m
        ",
        expect![[r#"
            wake at +15m0s
        "#]],
    );
}

#[test]
fn a_foreign_autoscaler_of_that_name_is_not_taken_over() {
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 5}}}
        seen: {hpa: {owner: robin}}
        ",
        expect![[r#"
            shows Errored 0s/15m0s
            Errored, Stalled=True NameTaken: HorizontalPodAutoscaler myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            Scheduled=True NameTaken: the canary is not judged before this is resolved: HorizontalPodAutoscaler myapp-kanary-batman exists and belongs to robin, not to this Kanary: rename one of the two, or delete it
            currentTraffic none
        "#]],
    );
}

#[test]
fn two_ways_of_scaling_are_refused() {
    check(
        "
        spec: {scale: {static: {replicas: 1}, percent: {value: 20}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.scale takes one of static, percent, hpa, keda, nodes and inPlace: keep one and remove the others
        "#]],
    );
}

#[test]
fn no_replicas_are_refused() {
    check(
        "
        spec: {scale: {static: {replicas: 0}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.scale.static.replicas is 0: use 1 or more
        "#]],
    );
}

#[test]
fn bounds_of_a_percentage_that_exclude_each_other_are_refused() {
    check(
        "
        spec: {scale: {percent: {value: 20, min: 3, max: 2}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.scale.percent: min 3 is greater than max 2
        "#]],
    );
}

#[test]
fn bounds_of_an_autoscaler_that_exclude_each_other_are_refused() {
    check(
        "
        spec: {scale: {hpa: {minReplicas: 6, maxReplicas: 5}}}
        ",
        expect![[r#"
            shows Errored
            Errored, Stalled=True InvalidSpec: spec.scale.hpa: minReplicas 6 is greater than maxReplicas 5
        "#]],
    );
}

#[test]
fn an_autoscaler_beside_a_scale_that_needs_none_is_not_created() {
    check(
        "
        spec: {scale: {}}
        seen: {canary: {}}
        now: +1s
        ",
        expect![[r#"
            wake at +9m30s
        "#]],
    );
}
