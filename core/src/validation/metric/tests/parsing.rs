//! What items are valid, and what they ask.

use serde_json::json;

use super::{
    super::{MetricsApi, PodSelector, kind_path, pods_path, resource_of_kind},
    cpu, metric, parse, utilization,
};
use crate::api::KanaryKind;

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn an_item_has_the_block_of_its_type_and_a_target_that_fits() {
    let block = "metric needs the block of its type and no other";
    let field = "target needs the field of its type and no other";
    let is_per_pod = "a resource is measured per pod";
    for (yaml, why) in [
        ("type: Resource", block),
        (
            "type: Pods\nresource: {name: cpu, target: {type: AverageValue, averageValue: 1}}",
            block,
        ),
        (
            "type: Resource\nresource: {name: gpu, target: {type: AverageValue, averageValue: 1}}",
            "resource.name is \"gpu\", and metrics.k8s.io has cpu and memory",
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: Value, value: 1}}",
            is_per_pod,
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: AverageValue}}",
            field,
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: 1, averageUtilization: 1}}",
            field,
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: Utilization, averageUtilization: 0}}",
            "resource.target.averageUtilization is 0",
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: -1}}",
            "resource.target.averageValue is -1: write a number that is not negative",
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: much}}",
            "resource.target.averageValue is much",
        ),
        (
            "type: Pods\npods: {metric: {name: errors}, target: {type: Value, value: 1}}",
            "a metric of pods is measured per pod",
        ),
        (
            "type: Pods\npods: {metric: {name: a/b}, target: {type: AverageValue, averageValue: 1}}",
            "pods.metric.name is \"a/b\", which no metrics API can serve",
        ),
        (
            "type: External\nexternal: {metric: {name: queue}, target: {type: Utilization, averageUtilization: 1}}",
            "only resources of pods have a utilization",
        ),
        (
            "type: External\nexternal: {metric: {name: ..}, target: {type: Value, value: 1}}",
            "external.metric.name is \"..\"",
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: 1}}\nminSamples: 0",
            "minSamples is 0",
        ),
        (
            "type: Object\nobject: {describedObject: {apiVersion: apps/v1%2Fnamespaces%2Fother, kind: Deployment, name: web}, metric: \
             {name: rps}, target: {type: Value, value: 1}}",
            "object.describedObject.apiVersion is apps/v1%2Fnamespaces%2Fother: write group/version",
        ),
        (
            "type: Object\nobject: {describedObject: {apiVersion: apps/v1/namespaces, kind: Deployment, name: web}, metric: {name: rps}, \
             target: {type: Value, value: 1}}",
            "object.describedObject.apiVersion is apps/v1/namespaces",
        ),
        (
            "type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: 1}}\ninterval: 1ms",
            "interval is shorter than 100ms",
        ),
    ] {
        let found = parse(yaml).unwrap_err();
        assert!(found.contains(why), "{yaml}: {found}");
    }
}

#[test]
fn counts_belong_to_what_is_asked_and_to_the_target() {
    let id = |yaml: &str| metric(yaml).terms.id;
    let yaml = "type: Resource\nresource: {name: cpu, target: {type: AverageValue, averageValue: 200m}}";
    let first = id(yaml);
    for same in ["failureLimit: 3", "interval: 1s", "minSamples: 2", "onNoData: fail"] {
        assert_eq!(id(&format!("{yaml}\n{same}")), first, "{same}");
    }
    assert_eq!(id(&yaml.replace("200m", "\"0.2\"")), first, "another way to write it");
    for other in [
        yaml.replace("200m", "300m"),
        yaml.replace("cpu", "memory"),
        yaml.replace("type: Resource", "type: ContainerResource")
            .replace("resource: {", "containerResource: {container: main, "),
    ] {
        assert_ne!(id(&other), first, "{other}");
    }
    assert_ne!(utilization().terms.id, first);
}

#[test]
fn a_request_names_the_api_the_metric_and_the_pods() {
    let pods = PodSelector::of_run(KanaryKind::Deployment, "batman", "abc-1");
    let selector = "kanary.k8s-operators.dev%2Fkind%3DKanaryDeployment%2Ckanary.k8s-operators.dev%2Fname%3Dbatman%2C\
                    kanary.k8s-operators.dev%2Frun%3Dabc-1";
    assert_eq!(
        cpu().path("shop", &pods, None),
        format!("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector={selector}")
    );
    assert_eq!(
        pods_path("shop", &pods),
        format!("/api/v1/namespaces/shop/pods?labelSelector={selector}&resourceVersion=0")
    );
    let old = PodSelector::of_run(KanaryKind::OldDeployment, "batman", "abc-1");
    assert_eq!(
        cpu().path("shop", &old, None),
        format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector={}",
            selector.replace("KanaryDeployment", "KanaryDeployment.kanary.k8s.io")
        )
    );
    let in_place = PodSelector::of_revision("db-5c9f");
    assert_eq!(
        cpu().path("shop", &in_place, None),
        "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=controller-revision-hash%3Ddb-5c9f"
    );
    let custom = metric(
        "type: Pods\npods: {metric: {name: 'errors:1m', selector: {matchLabels: {code: '500'}}}, \
         target: {type: AverageValue, averageValue: 1}}",
    );
    assert_eq!(
        custom.path("shop", &pods, None),
        format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/errors%3A1m?labelSelector={selector}&\
             metricLabelSelector=code%3D500"
        )
    );
    let object = metric(
        "type: Object\nobject: {describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: web}, \
         metric: {name: rps}, target: {type: Value, value: 1}}",
    );
    let described = object.described().unwrap();
    assert_eq!(kind_path(described), "/apis/networking.k8s.io/v1");
    assert_eq!(
        object.path("shop", &pods, Some("ingresses.networking.k8s.io")),
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/ingresses.networking.k8s.io/web/rps"
    );
    let external = metric(
        "type: External\nexternal: {metric: {name: queue, selector: {matchExpressions: \
         [{key: name, operator: In, values: [a, b]}]}}, target: {type: Value, value: 1}}",
    );
    assert_eq!(
        external.path("shop", &pods, None),
        "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue?labelSelector=name%20in%20%28a%2Cb%29"
    );
    let apis = [cpu().api(), custom.api(), external.api()];
    assert_eq!(apis, MetricsApi::ALL);
}

#[test]
fn the_resource_of_a_kind_is_looked_up() {
    let described = |kind: &str, version: &str| {
        let yaml = format!(
            "type: Object\nobject: {{describedObject: {{apiVersion: {version}, kind: {kind}, name: web}}, metric: {{name: rps}}, \
             target: {{type: Value, value: 1}}}}"
        );
        metric(&yaml).described().unwrap().clone()
    };
    let list = json!({"resources": [
        {"name": "ingresses/status", "kind": "Ingress", "namespaced": true},
        {"name": "ingresses", "kind": "Ingress", "namespaced": true},
        {"name": "ingressclasses", "kind": "IngressClass", "namespaced": false},
    ]});
    let of = |kind: &str, version: &str| resource_of_kind(&described(kind, version), &list);
    assert_eq!(
        of("Ingress", "networking.k8s.io/v1"),
        Ok("ingresses.networking.k8s.io".to_owned())
    );
    assert_eq!(of("Ingress", "v1"), Ok("ingresses".to_owned()));
    assert!(
        of("IngressClass", "v1")
            .unwrap_err()
            .contains("no kind of objects in a namespace")
    );
    assert!(of("Engress", "v1").unwrap_err().contains("knows no kind Engress in v1"));
}
