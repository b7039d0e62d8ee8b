//! A failed canary that is retained (`onFailure: retain`).

use expect_test::expect;

use super::check;

#[test]
fn retain_keeps_the_failed_canary() {
    check(
        "
        spec: {rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}}
        ",
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn a_retained_canary_is_reported_for_as_long_as_it_exists() {
    check(
        "
        spec: {rollout: {onFailure: retain}, verdict: invalid}
        status: {phase: Running}
        seen: {canary: {available: +0s}}
        now: +1m
        ",
        expect![[r#"
            phase Running → Failed, shows Failed 1m0s/15m0s, ended Running, Reconciling
            Activated=False CanaryRetained: Deployment myapp-kanary-batman is kept and gets no requests, because spec.rollout.onFailure is retain: to remove it, set onFailure to delete, or delete this Kanary
            Failed, Stalled=True VerdictInvalid: spec.verdict is invalid; to try again, change spec.template, or set spec.retry to another number
            verdicts {"present":{"verdict":"invalid"}}, completedAt +1m0s, failedTemplates ["<hash>"]
        "#]],
    );
    let kept = "
        status: {phase: Failed, conditions: {Activated: 'False CanaryRetained: Deployment myapp-kanary-batman is kept and gets no requests, because spec.rollout.onFailure is retain: to remove it, set onFailure to delete, or delete this Kanary'}}
        ";
    check(
        &format!("{kept}\n        spec: {{rollout: {{onFailure: delete}}}}\n        seen: {{canary: {{}}}}"),
        expect![[r#"
            delete Deployment myapp-kanary-batman
            shows Failed 0s/15m0s, ended Activated
            removed verdicts
        "#]],
    );
    check(
        &format!("{kept}\n        spec: {{rollout: {{onFailure: retain}}}}"),
        expect![[r#"
            shows Failed 0s/15m0s, ended Activated
            removed verdicts
        "#]],
    );
    check(
        &format!("{kept}\n        spec: {{rollout: {{onFailure: retain}}}}\n        seen: {{canary: {{}}}}"),
        expect![[r#"
            nothing
        "#]],
    );
}

#[test]
fn retain_takes_the_canary_out_of_traffic_and_its_autoscaler_away() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}, scale: {hpa: {maxReplicas: 3}}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}, pods: [{name: a}], kanaryService: {}, hpa: {}}
        ",
        expect![[r#"
            delete HorizontalPodAutoscaler myapp-kanary-batman
            delete Service myapp-svc-kanary-batman
        "#]],
    );
}

#[test]
fn retain_takes_pods_out_of_the_service_first_too() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: both}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}, pods: [{name: a, labels: {app: myapp}}], kanaryService: {}}
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn a_new_pod_of_a_retained_canary_leaves_the_service_as_well() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: service}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}, pods: [{name: a}, {name: new, labels: {app: myapp}}]}
        ",
        expect![[r#"
            unlabel pod new: app
        "#]],
    );
}

#[test]
fn a_retained_canary_stays_out_of_the_service_when_its_traffic_source_was_edited() {
    check(
        "
        spec: {serviceName: myapp-svc, traffic: {source: none}, rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}, pods: [{name: a, labels: {app: myapp}}]}
        ",
        expect![[r#"
            unlabel pod a: app
        "#]],
    );
}

#[test]
fn a_successful_canary_is_not_retained() {
    check(
        "
        spec: {rollout: {onFailure: retain}}
        status: {phase: DeploymentUpdated}
        seen: {canary: {}, target: {promotedBy: this run}}
        ",
        expect![[r#"
            delete Deployment myapp-kanary-batman
        "#]],
    );
}

#[test]
fn a_retained_canary_that_keeps_the_label_of_a_service_is_scaled_to_0() {
    check(
        "
        spec: {rollout: {onFailure: retain}}
        status: {phase: Failed}
        seen: {canary: {}, pods: [{name: a, labels: {pod-template-hash: abc}}], services: {by-hash: {pod-template-hash: abc}}}
        ",
        expect![[r#"
            scale myapp-kanary-batman to 0
            shows Failed 0s/15m0s
            Traffic=False LeftByScale: Deployment myapp-kanary-batman was scaled to 0, because its pods could not leave production by their labels: its pods have no label that can be taken off
            removed verdicts
        "#]],
    );
}

#[test]
fn a_service_for_canaries_that_sends_requests_to_a_retained_one_is_reported() {
    let kept = |services: &str, message: &str| {
        format!(
            "
            spec: {{rollout: {{onFailure: retain}}}}
            status: {{phase: Failed, conditions: {{Activated: 'False CanaryRetained: {message}'}}}}
            seen: {{canary: {{}}, pods: [{{name: a, labels: {{kanary.k8s-operators.dev/iskanary: 'true'}}}}], services: {{{services}}}}}
            "
        )
    };
    check(
        &kept(
            "canaries: {kanary.k8s-operators.dev/iskanary: 'true'}, others: {kanary.k8s-operators.dev/name: robin}",
            "gets no requests",
        ),
        expect![[r#"
            shows Failed 0s/15m0s
            Activated=False CanaryRetained: Deployment myapp-kanary-batman is kept and gets the requests of Service canaries, which selects canaries by labels of kanary.k8s-operators.dev, because spec.rollout.onFailure is retain: to remove it, set onFailure to delete, or delete this Kanary
            removed verdicts
        "#]],
    );
    check(
        &kept("", "gets the requests of Service canaries"),
        expect![[r#"
            shows Failed 0s/15m0s
            Activated=False CanaryRetained: Deployment myapp-kanary-batman is kept and gets no requests, because spec.rollout.onFailure is retain: to remove it, set onFailure to delete, or delete this Kanary
            removed verdicts
        "#]],
    );
}
