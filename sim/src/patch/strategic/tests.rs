//! Strategic merge patches as kubectl sends them, and each directive.

use serde_json::json;

use super::*;

fn patched(mut live: Value, patch: &Value) -> Result<Value, Failure> {
    strategic(&mut live, patch)?;
    Ok(live)
}

/// A Deployment with this pod spec.
fn deployment(pod: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": pod}}})
}

/// The pod spec after a patch of the pod spec.
fn pod_spec(live: &Value, patch: &Value) -> Value {
    let patch = json!({"spec": {"template": {"spec": patch}}});
    patched(deployment(live), &patch).unwrap()["spec"]["template"]["spec"].take()
}

#[test]
fn kubectl_set_image_changes_one_container() {
    let live = json!({"containers": [
        {"name": "main", "image": "app:1", "env": [{"name": "A", "value": "1"}]},
        {"name": "proxy", "image": "proxy:1"},
    ]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "main"}, {"name": "proxy"}],
        "containers": [{"name": "main", "image": "app:2"}],
    });
    let expected = json!({"containers": [
        {"name": "main", "image": "app:2", "env": [{"name": "A", "value": "1"}]},
        {"name": "proxy", "image": "proxy:1"},
    ]});
    assert_eq!(pod_spec(&live, &patch), expected);
}

#[test]
fn kubectl_rollout_restart_adds_an_annotation() {
    let live =
        json!({"kind": "Deployment", "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "a"}}}}});
    let patch =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}});
    let expected = json!({"kind": "Deployment", "spec": {"replicas": 2, "template": {"metadata": {
        "labels": {"app": "a"},
        "annotations": {"kubectl.kubernetes.io/restartedAt": "now"},
    }}}});
    assert_eq!(patched(live, &patch), Ok(expected));
}

#[test]
fn kubectl_label_removes_a_label_with_null() {
    let live = json!({"kind": "Deployment", "metadata": {"labels": {"a": "1", "b": "2"}}});
    let patch = json!({"metadata": {"labels": {"a": null, "c": "3"}}});
    let expected = json!({"kind": "Deployment", "metadata": {"labels": {"b": "2", "c": "3"}}});
    assert_eq!(patched(live, &patch), Ok(expected));
}

#[test]
fn kubectl_apply_of_a_recreate_strategy_drops_the_rolling_update() {
    let live = json!({"kind": "Deployment", "spec": {"strategy": {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1},
    }}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let expected = json!({"kind": "Deployment", "spec": {"strategy": {"type": "Recreate"}}});
    assert_eq!(patched(live, &patch), Ok(expected));
}

#[test]
fn kubectl_apply_of_a_service_merges_its_ports() {
    let live = json!({"kind": "Service", "spec": {"ports": [
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080},
        {"name": "old", "port": 81, "protocol": "TCP", "targetPort": 81},
    ]}});
    let patch = json!({"spec": {
        "$setElementOrder/ports": [{"port": 80}, {"port": 82}],
        "ports": [{"port": 80, "targetPort": 9090}, {"name": "new", "port": 82}, {"$patch": "delete", "port": 81}],
    }});
    let expected = json!({"kind": "Service", "spec": {"ports": [
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 9090},
        {"name": "new", "port": 82},
    ]}});
    assert_eq!(patched(live, &patch), Ok(expected));
}

#[test]
fn environment_variables_merge_within_their_container() {
    let live = json!({"containers": [
        {"name": "main", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "proxy", "env": [{"name": "A", "value": "3"}]},
    ]});
    let patch = json!({"containers": [{"name": "main", "env": [
        {"name": "A", "value": "9"},
        {"name": "B", "$patch": "delete"},
        {"name": "C", "value": "4"},
    ]}]});
    let expected = json!({"containers": [
        {"name": "main", "env": [{"name": "A", "value": "9"}, {"name": "C", "value": "4"}]},
        {"name": "proxy", "env": [{"name": "A", "value": "3"}]},
    ]});
    assert_eq!(pod_spec(&live, &patch), expected);
}

#[test]
fn a_variable_changes_from_a_value_to_a_reference() {
    let live = json!({"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]});
    let reference = json!({"fieldRef": {"fieldPath": "metadata.name"}});
    let patch = json!({"containers": [{"name": "main", "env": [
        {"name": "A", "value": null, "valueFrom": reference},
    ]}]});
    let expected = json!({"containers": [{"name": "main", "env": [{"name": "A", "valueFrom": reference}]}]});
    assert_eq!(pod_spec(&live, &patch), expected);
}

#[test]
fn a_volume_keeps_only_the_retained_source() {
    let live = json!({"volumes": [{"name": "data", "emptyDir": {}}, {"name": "other", "emptyDir": {}}]});
    let patch = json!({"volumes": [
        {"$retainKeys": ["name", "configMap"], "name": "data", "configMap": {"name": "settings"}},
    ]});
    let expected = json!({"volumes": [
        {"name": "data", "configMap": {"name": "settings"}},
        {"name": "other", "emptyDir": {}},
    ]});
    assert_eq!(pod_spec(&live, &patch), expected);
}

#[test]
fn retained_keys_must_list_what_the_patch_sets() {
    let live = json!({"kind": "Deployment", "spec": {"strategy": {"type": "RollingUpdate"}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    let failure = patched(live, &patch).unwrap_err();
    assert_eq!(failure, Failure::bad_request("invalid patch format of retainKeys"));
}

#[test]
fn lists_without_a_merge_key_are_replaced() {
    let live = json!({"containers": [{"name": "main", "args": ["a", "b"]}], "tolerations": [{"key": "x"}]});
    let patch = json!({"containers": [{"name": "main", "args": ["c"]}], "tolerations": [{"key": "y"}]});
    assert_eq!(pod_spec(&live, &patch), patch);
}

#[test]
fn finalizers_are_a_set() {
    let live = json!({"kind": "Pod", "metadata": {"finalizers": ["a", "b", "c"]}});
    let patch = json!({"metadata": {"finalizers": ["c", "d"], "$deleteFromPrimitiveList/finalizers": ["a"]}});
    let finalizers = patched(live, &patch).unwrap()["metadata"]["finalizers"].take();
    assert_eq!(finalizers, json!(["b", "c", "d"]));
}

#[test]
fn deleting_values_from_a_list_that_is_not_there_does_nothing() {
    let live = json!({"kind": "Pod", "metadata": {"name": "a"}});
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(patched(live.clone(), &patch), Ok(live));
}

#[test]
fn owner_references_merge_by_uid() {
    let live = json!({"kind": "Pod", "metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}});
    let patch = json!({"metadata": {"ownerReferences": [{"uid": "1", "controller": true}, {"uid": "2"}]}});
    let owners = patched(live, &patch).unwrap()["metadata"]["ownerReferences"].take();
    assert_eq!(
        owners,
        json!([{"uid": "1", "name": "a", "controller": true}, {"uid": "2"}])
    );
}

#[test]
fn the_order_of_the_patch_wins_and_other_elements_keep_their_place() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "injected"}, {"name": "c"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "new"}, {"name": "c"}, {"name": "b"}, {"name": "a"}],
        "containers": [{"name": "new"}],
    });
    let names: Vec<_> = pod_spec(&live, &patch)["containers"].as_array().unwrap().clone();
    let names: Vec<_> = names
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["new", "injected", "c", "b", "a"]);
}

#[test]
fn an_order_alone_reorders() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let patch = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
    assert_eq!(
        pod_spec(&live, &patch),
        json!({"containers": [{"name": "b"}, {"name": "a"}]})
    );
}

#[test]
fn an_order_must_list_what_the_patch_adds() {
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"name": "b"}],
    }}}});
    let failure = patched(deployment(&json!({"containers": [{"name": "a"}]})), &patch).unwrap_err();
    assert_eq!(
        failure.message,
        "The order in patch list:\n[map[name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n"
    );
}

#[test]
fn a_map_is_replaced_or_emptied_on_demand() {
    let live = json!({"kind": "Pod", "metadata": {"labels": {"a": "1"}, "annotations": {"b": "2"}}});
    let patch = json!({"metadata": {
        "labels": {"$patch": "replace", "c": "3"},
        "annotations": {"$patch": "delete"},
    }});
    let expected = json!({"kind": "Pod", "metadata": {"labels": {"c": "3"}, "annotations": {}}});
    assert_eq!(patched(live, &patch), Ok(expected));
}

#[test]
fn a_list_is_replaced_on_demand() {
    let live = json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]});
    let patch = json!({"containers": [{"name": "a"}, {"$patch": "replace"}]});
    assert_eq!(pod_spec(&live, &patch), json!({"containers": [{"name": "a"}]}));
}

#[test]
fn a_new_list_carries_no_directives_and_no_nulls() {
    let patch = json!({
        "$setElementOrder/volumes": [{"name": "v"}],
        "volumes": [{"$retainKeys": ["name", "emptyDir"], "name": "v", "emptyDir": {}, "secret": null}],
        "containers": [{"name": "a", "$setElementOrder/env": [{"name": "E"}], "env": [{"name": "E", "value": null}]}],
        "initContainers": [{"$patch": "delete", "name": "gone"}],
    });
    let expected = json!({
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "a", "env": [{"name": "E"}]}],
        "initContainers": [],
    });
    assert_eq!(pod_spec(&json!({}), &patch), expected);
}

#[test]
fn the_selector_of_a_disruption_budget_is_replaced() {
    let selector =
        |key: &str| json!({"kind": "PodDisruptionBudget", "spec": {"selector": {"matchLabels": {key: "1"}}}});
    assert_eq!(patched(selector("a"), &selector("b")), Ok(selector("b")));
}

#[test]
fn an_element_without_its_merge_key_is_refused() {
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"image": "app:2"}]}}}});
    let failure = patched(deployment(&json!({"containers": [{"name": "a"}]})), &patch).unwrap_err();
    assert_eq!(failure.code, 500);
    assert_eq!(
        failure.message,
        "map: map[image:app:2] does not contain declared merge key: name"
    );
}

#[test]
fn an_unknown_directive_is_refused_and_changes_nothing() {
    let mut live = json!({"kind": "Pod", "metadata": {"labels": {"a": "1"}}, "spec": {"a": 1}});
    let before = live.clone();
    let patch = json!({"metadata": {"labels": {"$patch": "grow"}}, "spec": {"a": 2}});
    let failure = strategic(&mut live, &patch).unwrap_err();
    assert_eq!(failure.message, "unknown patch type: grow in map: map[$patch:grow]");
    assert_eq!(live, before);
}

#[test]
fn lists_of_lists_are_refused() {
    let live = deployment(&json!({"containers": [[1]]}));
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
    assert_eq!(patched(live, &patch).unwrap_err().code, 422);
}
