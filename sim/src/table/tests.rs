//! Rows in the output of `kubectl get -o wide`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json_path::JsonPath;
use super::*;

fn now() -> Timestamp {
    "2020-04-12T20:42:00Z".parse().unwrap()
}

/// The cells of an object that was created a minute ago.
fn cells(group: &str, plural: &str, mut object: Value) -> Value {
    object["metadata"]["creationTimestamp"] = json!("2020-04-12T20:41:00Z");
    let columns = built_in::columns(group, plural);
    let table = table(&columns, &[object], now(), IncludeObject::None, json!({}));
    let (cells, columns) = (&table["rows"][0]["cells"], &table["columnDefinitions"]);
    assert_eq!(cells.as_array().unwrap().len(), columns.as_array().unwrap().len());
    cells.clone()
}

fn pod(status: &Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": {"containers": [{}], "nodeName": "n"}, "status": status})
}

/// Readiness, status and restarts of a pod.
fn pod_cells(pod: &Value) -> [String; 3] {
    let cells = cells("", "pods", pod.clone());
    [1, 2, 3].map(|at| cells[at].as_str().unwrap().to_owned())
}

#[allow(clippy::needless_pass_by_value, reason = "called with a `json!` literal")]
fn custom(column: Value, object: &Value) -> Value {
    let columns = Columns::custom(&json!([column]));
    table(
        &columns,
        std::slice::from_ref(object),
        now(),
        IncludeObject::None,
        json!({}),
    )["rows"][0]["cells"][1]
        .clone()
}

#[test]
fn ages_are_short() {
    let minute = 60;
    let (hour, day, year) = (60 * minute, 24 * 60 * minute, 365 * 24 * 60 * minute);
    let ages = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (13 * minute, "13m"),
        (179 * minute, "179m"),
        (3 * hour, "3h"),
        (3 * hour + 5 * minute, "3h5m"),
        (8 * hour, "8h"),
        (47 * hour, "47h"),
        (2 * day, "2d"),
        (2 * day + hour, "2d1h"),
        (8 * day + hour, "8d"),
        (2 * year, "2y"),
        (2 * year + day, "2y1d"),
        (9 * year, "9y"),
    ];
    for (seconds, age) in ages {
        assert_eq!(human_duration(seconds * 1000), age);
    }
}

#[test]
fn json_paths_lead_to_values() {
    let object = json!({"a": {"b": [{"c": 1}, {"c": 2}], "x.y/z": "dotted", "plain": true},
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Failed", "status": "False"}]});
    let found = |path: &str| JsonPath::parse(path).unwrap().find(&object).cloned();
    assert_eq!(found(".a.b[0].c"), Some(json!(1)));
    assert_eq!(found(".a.b[-1].c"), Some(json!(2)));
    assert_eq!(found(".a.b[*].c"), Some(json!(1)));
    assert_eq!(found(".a['x.y/z']"), Some(json!("dotted")));
    assert_eq!(found(".a[\"plain\"]"), Some(json!(true)));
    assert_eq!(found(".a.x\\.y/z"), Some(json!("dotted")));
    assert_eq!(found(".conditions[?(@.type==\"Failed\")].status"), Some(json!("False")));
    assert_eq!(found(".conditions[?(@.type == 'Gone')].status"), None);
    assert_eq!(found(".a.b[7].c"), None);
    assert_eq!(JsonPath::parse("a.b"), None);
    assert_eq!(JsonPath::parse(".a[b"), None);
}

#[test]
fn a_column_shows_what_has_its_type() {
    let object = json!({"spec": {"text": "x", "whole": 3, "part": 1.5, "yes": true, "map": {"a": 1},
        "time": "2020-04-12T20:40:00Z", "nothing": null}});
    let cell = |kind: &str, path: &str| custom(json!({"name": "C", "type": kind, "jsonPath": path}), &object);
    assert_eq!(cell("string", ".spec.text"), "x");
    assert_eq!(cell("string", ".spec.whole"), "3");
    assert_eq!(cell("string", ".spec.map"), "{\"a\":1}");
    assert_eq!(cell("string", ".spec.gone"), Value::Null);
    assert_eq!(cell("integer", ".spec.whole"), 3);
    assert_eq!(cell("integer", ".spec.part"), 1);
    assert_eq!(cell("integer", ".spec.text"), Value::Null);
    assert_eq!(cell("number", ".spec.part"), 1.5);
    assert_eq!(cell("boolean", ".spec.yes"), true);
    assert_eq!(cell("date", ".spec.time"), "2m");
    assert_eq!(cell("date", ".spec.text"), "<invalid>");
}

#[test]
fn a_kind_without_columns_shows_its_age() {
    let object = json!({"metadata": {"name": "x", "creationTimestamp": "2020-04-12T20:41:00Z"}});
    let table = table(
        &Columns::custom(&Value::Null),
        &[object],
        now(),
        IncludeObject::None,
        json!({}),
    );
    assert_eq!(table["rows"], json!([{"cells": ["x", "60s"]}]));
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn kanaries_show_their_report() {
    let definition: Value = serde_yaml_ng::from_str(include_str!("../../../crds/kanarydeployments.yaml")).unwrap();
    let [resource] = &crate::custom::resources(&definition).unwrap()[..] else {
        panic!("one version")
    };
    let object = json!({"metadata": {"name": "batman", "creationTimestamp": "2020-04-12T20:29:00Z"},
        "status": {"report": {"status": "Running", "scale": "static", "duration": "1m/15m"}}});
    let table = table(&Columns::of(resource), &[object], now(), IncludeObject::None, json!({}));
    let names: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    let all = [
        "Name",
        "Status",
        "Deployment",
        "Service",
        "Scale",
        "Traffic",
        "Validation",
        "Duration",
        "Age",
    ];
    assert_eq!(names, all);
    let cells = json!(["batman", "Running", null, null, "static", null, null, "1m/15m", "13m"]);
    assert_eq!(table["rows"][0]["cells"], cells);
}

#[test]
fn a_row_has_as_much_of_the_object_as_is_asked_for() {
    let object = json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "b"}});
    let row = |include| {
        let columns = built_in::columns("", "secrets");
        let meta = json!({"resourceVersion": "7"});
        let table = table(&columns, std::slice::from_ref(&object), now(), include, meta);
        assert_eq!(table["metadata"]["resourceVersion"], "7");
        table["rows"][0]["object"].clone()
    };
    assert_eq!(row(IncludeObject::None), Value::Null);
    assert_eq!(row(IncludeObject::Object), object);
    let metadata = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "s"}});
    assert_eq!(row(IncludeObject::Metadata), metadata);
    assert_eq!(IncludeObject::of(""), Some(IncludeObject::Metadata));
    assert_eq!(IncludeObject::of("All"), None);
}

#[test]
fn the_reason_of_a_pod_comes_from_its_containers() {
    let container = |ready: bool, state: Value| json!([{"ready": ready, "restartCount": 0, "state": state}]);
    let status = |phase: &str, containers: Value| pod(&json!({"phase": phase, "containerStatuses": containers}));
    let running = status("Running", container(true, json!({"running": {}})));
    assert_eq!(pod_cells(&running), ["1/1", "Running", "0"]);
    assert_eq!(pod_cells(&pod(&json!({"phase": "Pending"}))), ["0/1", "Pending", "0"]);
    let waiting = status(
        "Pending",
        container(false, json!({"waiting": {"reason": "ImagePullBackOff"}})),
    );
    assert_eq!(pod_cells(&waiting), ["0/1", "ImagePullBackOff", "0"]);
    let ended = status("Failed", container(false, json!({"terminated": {"exitCode": 3}})));
    assert_eq!(pod_cells(&ended), ["0/1", "ExitCode:3", "0"]);
    let done = status(
        "Succeeded",
        container(false, json!({"terminated": {"exitCode": 0, "reason": "Completed"}})),
    );
    assert_eq!(pod_cells(&done), ["0/1", "Completed", "0"]);
    let mut going = running;
    going["metadata"]["deletionTimestamp"] = json!("2020-04-12T20:41:50Z");
    assert_eq!(pod_cells(&going), ["1/1", "Terminating", "0"]);
}

#[test]
fn restarts_tell_when_the_last_one_was() {
    let last = json!({"terminated": {"finishedAt": "2020-04-12T20:41:30Z"}});
    let container = json!({"restartCount": 2, "lastState": last, "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
    let pod = pod(&json!({"phase": "Running", "containerStatuses": [container]}));
    assert_eq!(pod_cells(&pod), ["0/1", "CrashLoopBackOff", "2 (30s ago)"]);
}

#[test]
fn init_containers_come_first() {
    let mut pod = pod(&json!({"phase": "Pending", "initContainerStatuses": [
        {"name": "a", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}},
        {"name": "b", "restartCount": 0, "state": {"running": {}}}]}));
    pod["spec"]["initContainers"] = json!([{"name": "a"}, {"name": "b"}]);
    assert_eq!(pod_cells(&pod), ["0/1", "Init:1/2", "1"]);
    pod["status"]["initContainerStatuses"][1]["state"] = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
    assert_eq!(pod_cells(&pod)[1], "Init:Error");
    pod["spec"]["initContainers"][1]["restartPolicy"] = json!("Always");
    pod["status"]["initContainerStatuses"][1] = json!({"name": "b", "started": true, "ready": true, "restartCount": 3});
    assert_eq!(pod_cells(&pod), ["1/2", "Pending", "3"]);
}

#[test]
fn deployments_and_replica_sets_count_pods() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "y:2"}]}});
    let expression = json!({"key": "tier", "operator": "In", "values": ["a", "b"]});
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [expression]});
    let object = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": selector, "template": template},
        "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}});
    let deployment = json!(["web", "2/3", 3, 1, "60s", "a,b", "x:1,y:2", "app=web,tier in (a,b)"]);
    assert_eq!(cells("apps", "deployments", object.clone()), deployment);
    let replica_set = json!(["web", 3, 3, 2, "60s", "a,b", "x:1,y:2", "app=web,tier in (a,b)"]);
    assert_eq!(cells("apps", "replicasets", object), replica_set);
}

#[test]
fn services_tell_their_addresses_and_ports() {
    let service = |spec: Value| cells("", "services", json!({"metadata": {"name": "s"}, "spec": spec}));
    let web = json!({"type": "NodePort", "clusterIP": "10.0.0.1", "selector": {"app": "web"},
        "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]});
    assert_eq!(
        service(web),
        json!([
            "s",
            "NodePort",
            "10.0.0.1",
            "<none>",
            "80:30080/TCP,53/UDP",
            "60s",
            "app=web"
        ])
    );
    let balanced = service(json!({"type": "LoadBalancer", "clusterIP": "None"}));
    assert_eq!(
        balanced,
        json!(["s", "LoadBalancer", "None", "<pending>", "<none>", "60s", "<none>"])
    );
    let named = service(json!({"type": "ExternalName", "externalName": "example.org"}));
    assert_eq!(
        named,
        json!(["s", "ExternalName", "<none>", "example.org", "<none>", "60s", "<none>"])
    );
}

#[test]
fn endpoint_slices_show_three_addresses() {
    let addresses = |n: usize| {
        json!(
            (0..n)
                .map(|i| json!({"addresses": [format!("10.0.0.{i}")]}))
                .collect::<Vec<_>>()
        )
    };
    let slice = |n| {
        let slice = json!({"metadata": {"name": "s"}, "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": addresses(n)});
        cells("discovery.k8s.io", "endpointslices", slice)
    };
    assert_eq!(slice(0), json!(["s", "IPv4", "80", "<unset>", "60s"]));
    assert_eq!(slice(3)[3], "10.0.0.0,10.0.0.1,10.0.0.2");
    assert_eq!(slice(5)[3], "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more...");
}

#[test]
fn autoscalers_tell_their_metrics() {
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}});
    let pods = json!({"type": "Pods", "pods": {"target": {"averageValue": "10"}}});
    let current = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12}}});
    let target = json!({"kind": "Deployment", "name": "web"});
    let autoscaler = |metrics: Value| {
        let spec = json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 5, "metrics": metrics});
        let status = json!({"currentReplicas": 2, "currentMetrics": [current]});
        cells(
            "autoscaling",
            "horizontalpodautoscalers",
            json!({"metadata": {"name": "h"}, "spec": spec, "status": status}),
        )
    };
    assert_eq!(
        autoscaler(json!([cpu])),
        json!(["h", "Deployment/web", "cpu: 12%/80%", "1", 5, 2, "60s"])
    );
    assert_eq!(autoscaler(json!([cpu, pods]))[2], "cpu: 12%/80%, <unknown>/10");
    assert_eq!(
        autoscaler(json!([cpu, pods, pods]))[2],
        "cpu: 12%/80%, <unknown>/10 + 1 more..."
    );
    assert_eq!(autoscaler(json!([]))[2], "<none>");
}

#[test]
fn events_of_both_groups_look_the_same() {
    let core = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "Failed", "message": " it failed\n",
        "involvedObject": {"kind": "KanaryDeployment", "name": "batman"}, "source": {"component": "kanary"},
        "firstTimestamp": "2020-04-12T20:41:00Z", "lastTimestamp": "2020-04-12T20:41:50Z", "count": 3});
    let row = json!([
        "10s",
        "Warning",
        "Failed",
        "kanarydeployment/batman",
        "",
        "kanary",
        "it failed",
        "60s",
        3,
        "e"
    ]);
    assert_eq!(cells("", "events", core), row);
    let new = json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "Failed", "note": "it failed",
        "regarding": {"kind": "KanaryDeployment", "name": "batman"}, "reportingController": "kanary",
        "eventTime": "2020-04-12T20:41:00.000000Z",
        "series": {"count": 3, "lastObservedTime": "2020-04-12T20:41:50.000000Z"}});
    assert_eq!(cells("events.k8s.io", "events", new), row);
}

#[test]
fn other_kinds_have_few_columns() {
    let named = |more: Value| {
        let mut object = json!({"metadata": {"name": "x"}});
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    let secret = named(json!({"type": "Opaque", "data": {"a": "b"}}));
    assert_eq!(cells("", "secrets", secret), json!(["x", "Opaque", 1, "60s"]));
    let map = named(json!({"data": {"a": "b"}, "binaryData": {"c": "d"}}));
    assert_eq!(cells("", "configmaps", map), json!(["x", 2, "60s"]));
    assert_eq!(
        cells("", "namespaces", named(json!({"status": {"phase": "Active"}}))),
        json!(["x", "Active", "60s"])
    );
    let lease = named(json!({"spec": {"holderIdentity": "one"}}));
    assert_eq!(
        cells("coordination.k8s.io", "leases", lease),
        json!(["x", "one", "60s"])
    );
    let created = json!(["x", "2020-04-12T20:41:00Z"]);
    assert_eq!(
        cells("apiextensions.k8s.io", "customresourcedefinitions", named(json!({}))),
        created
    );
    assert_eq!(cells("", "serviceaccounts", named(json!({}))), json!(["x", "60s"]));
}

#[test]
fn nodes_tell_whether_they_are_ready() {
    let node = json!({"metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "False"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "kernelVersion": "6.1", "architecture": "amd64"}}});
    let row = json!([
        "n",
        "NotReady,SchedulingDisabled",
        "worker",
        "60s",
        "v1.36.0",
        "10.0.0.1",
        "<none>",
        "<unknown>",
        "6.1 (amd64)",
        "<unknown>"
    ]);
    assert_eq!(cells("", "nodes", node), row);
}

#[test]
fn a_pod_that_ended_is_marked() {
    let mut pod = pod(&json!({"phase": "Failed"}));
    pod["kind"] = json!("Pod");
    let columns = built_in::columns("", "pods");
    let table = table(&columns, &[pod], now(), IncludeObject::None, json!({}));
    let condition = json!([{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}]);
    assert_eq!(table["rows"][0]["conditions"], condition);
}
