//! Labels and annotations that a canary Deployment inherits from its template and its target.

use expect_test::expect;

use super::check;

#[test]
fn a_canary_carries_the_labels_and_annotations_that_a_policy_may_ask_for() {
    check(
        "
        spec: {template: {metadata: {labels: {team: heroes, tier: web}, annotations: {owner: bruce}}}}
        seen: {target: {labels: {team: villains, cost: low}, annotations: {pager: robin}}}
        show: [/metadata/labels, /metadata/annotations]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"cost":"low","…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac","team":"heroes","tier":"web"}
              annotations: {"…/target-template-hash":"85924a836eb2db86","…/traffic":"none","owner":"bruce","pager":"robin"}
        "#]],
    );
}

#[test]
fn a_canary_carries_nothing_by_which_a_tool_would_track_or_prune_it() {
    check(
        "
        spec: {template: {metadata: {labels: {app.kubernetes.io/instance: shop, helm.sh/chart: myapp}, annotations: {argocd.argoproj.io/tracking-id: x, meta.helm.sh/release-name: x}}}}
        seen: {target: {labels: {kustomize.toolkit.fluxcd.io/name: shop, app.kubernetes.io/managed-by: Helm}}}
        show: [/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac"}
        "#]],
    );
}

#[test]
fn a_canary_carries_no_label_that_a_label_watch_would_fail_it_by() {
    check(
        "
        spec: {template: {metadata: {labels: {team: heroes}}}, validation: {items: [{labelWatch: {deploymentInvalidationLabels: {quality: bad}}}]}}
        seen: {target: {labels: {quality: bad}}}
        show: [/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac","team":"heroes"}
        "#]],
    );
}

#[test]
fn an_autoscaler_carries_the_labels_too() {
    check(
        "
        spec: {scale: {hpa: {maxReplicas: 3}}, template: {metadata: {labels: {team: heroes}}}}
        show: [/metadata/labels]
        ",
        expect![[r#"
            create Deployment myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/run":"<hash>-1","…/slot":"ac","team":"heroes"}
            create HorizontalPodAutoscaler myapp-kanary-batman
              labels: {"…/iskanary":"true","…/kind":"KanaryDeployment","…/name":"batman","…/slot":"ac","team":"heroes"}
        "#]],
    );
}
