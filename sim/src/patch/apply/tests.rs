//! Server-side apply by one manager and by several.

mod refusals;

use super::*;
use crate::patch::BuiltIn;

const NOW: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-01T00:01:00Z";

fn by(manager: &str) -> Apply<'_> {
    Apply {
        manager,
        force: false,
        subresource: "",
        now: NOW,
        lists: &BuiltIn,
    }
}

fn later(manager: &str) -> Apply<'_> {
    Apply {
        now: LATER,
        ..by(manager)
    }
}

fn forced(manager: &str) -> Apply<'_> {
    Apply {
        force: true,
        ..later(manager)
    }
}

/// A Deployment with this spec.
fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app", "namespace": "default"}, "spec": spec})
}

fn with_labels(labels: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "labels": labels}})
}

/// A Deployment with these containers.
fn with_containers(containers: &Value) -> Value {
    deployment(&json!({"template": {"spec": {"containers": containers}}}))
}

fn containers(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"]
}

/// What a manager owns.
fn owned(object: &Value, manager: &str) -> Value {
    let mut entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let entry = entries.find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn created(config: &Value, manager: &str) -> Value {
    apply(None, config, &by(manager)).unwrap()
}

#[test]
fn an_entry_is_written_as_kube_apiserver_writes_it() {
    let config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "default", "labels": {"app": "a"}, "finalizers": ["x/y"]},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {"containers": [
            {"name": "main", "image": "app:1", "args": ["a"], "ports": [{"containerPort": 80}], "resources": {}},
        ]}}},
    });
    let expected = json!([{
        "manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": NOW, "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {"v:\"x/y\"": {}}},
            "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"main\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:resources": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                },
            }}}},
        },
    }]);
    assert_eq!(created(&config, "kubectl")["metadata"]["managedFields"], expected);
}

#[test]
fn an_entry_of_a_subresource_says_so() {
    let live = created(&deployment(&json!({"replicas": 1})), "a");
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "status": {
        "conditions": [{"type": "Available", "status": "True"}],
    }});
    let how = Apply {
        subresource: "status",
        ..later("a")
    };
    let object = apply(Some(&live), &config, &how).unwrap();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(
        entries[1]["fieldsV1"],
        json!({"f:status": {"f:conditions": {"k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
    );
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let config = with_containers(&json!([{"name": "main", "image": "app:1", "env": [{"name": "A", "value": "1"}]}]));
    let mut live = created(&config, "a");
    live["metadata"]["uid"] = json!("1");
    live["spec"]["replicas"] = json!(1);
    live["status"] = json!({"replicas": 1});
    assert_eq!(apply(Some(&live), &config, &later("a")), Ok(live));
}

#[test]
fn a_changed_value_changes_the_time() {
    let live = created(&deployment(&json!({"replicas": 1})), "a");
    let object = apply(Some(&live), &deployment(&json!({"replicas": 2})), &later("a")).unwrap();
    assert_eq!(object["spec"]["replicas"], 2);
    assert_eq!(object["metadata"]["managedFields"][0]["time"], LATER);
}

#[test]
fn a_field_that_is_no_longer_applied_goes() {
    let live = created(&deployment(&json!({"replicas": 1, "paused": true})), "a");
    let object = apply(Some(&live), &deployment(&json!({"replicas": 1})), &later("a")).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 1}));
    assert_eq!(owned(&object, "a"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn an_emptied_parent_goes() {
    let live = created(&with_labels(&json!({"a": "1"})), "a");
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}});
    let object = apply(Some(&live), &config, &later("a")).unwrap();
    assert_eq!(object, config);
}

#[test]
fn what_is_applied_empty_stays() {
    let live = created(&with_labels(&json!({"a": "1"})), "a");
    let object = apply(Some(&live), &with_labels(&json!({})), &later("a")).unwrap();
    assert_eq!(object["metadata"]["labels"], json!({}));
    assert_eq!(owned(&object, "a"), json!({"f:metadata": {"f:labels": {}}}));
}

#[test]
fn a_default_within_what_is_applied_empty_stays() {
    let mut live = created(&deployment(&json!({})), "a");
    live["spec"]["replicas"] = json!(1);
    assert_eq!(apply(Some(&live), &deployment(&json!({})), &later("a")), Ok(live));
}

#[test]
fn an_empty_list_of_elements_is_not_owned() {
    let config = with_containers(&json!([{"name": "main", "args": []}]));
    let fields = owned(&created(&config, "a"), "a");
    let container = &fields["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"main\"}"];
    assert_eq!(container, &json!({".": {}, "f:name": {}, "f:args": {}}));
    assert_eq!(owned(&created(&with_containers(&json!([])), "a"), "a"), Value::Null);
}

#[test]
fn a_default_goes_with_the_probe_it_is_part_of() {
    let mut live = created(
        &with_containers(&json!([{"name": "main", "livenessProbe": {"exec": {}}}])),
        "a",
    );
    live["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] = json!(10);
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let object = apply(Some(&live), &with_containers(&json!([{"name": "main"}])), &later("a")).unwrap();
    assert_eq!(
        containers(&object),
        &json!([{"name": "main", "imagePullPolicy": "Always"}])
    );
}

#[test]
fn an_element_that_is_no_longer_applied_goes_with_its_defaults() {
    let mut live = created(&with_containers(&json!([{"name": "main"}, {"name": "proxy"}])), "a");
    live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    let object = apply(Some(&live), &with_containers(&json!([{"name": "main"}])), &later("a")).unwrap();
    assert_eq!(containers(&object), &json!([{"name": "main"}]));
}

#[test]
fn environment_variables_merge_within_their_container() {
    let ours =
        with_containers(&json!([{"name": "main", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]));
    let theirs = with_containers(&json!([{"name": "main", "env": [{"name": "C", "value": "3"}]}]));
    let live = apply(Some(&created(&ours, "a")), &theirs, &by("b")).unwrap();
    let fewer = with_containers(&json!([{"name": "main", "env": [{"name": "B", "value": "4"}]}]));
    let object = apply(Some(&live), &fewer, &later("a")).unwrap();
    let env = json!([{"name": "B", "value": "4"}, {"name": "C", "value": "3"}]);
    assert_eq!(containers(&object), &json!([{"name": "main", "env": env}]));
}

#[test]
fn an_element_stays_while_another_owns_it() {
    let both = with_containers(&json!([{"name": "main", "image": "app:1"}]));
    let live = apply(
        Some(&created(&both, "a")),
        &with_containers(&json!([{"name": "main"}])),
        &by("b"),
    )
    .unwrap();
    let object = apply(Some(&live), &deployment(&json!({})), &later("a")).unwrap();
    assert_eq!(containers(&object), &json!([{"name": "main"}]));
}

#[test]
fn a_field_stays_until_its_last_owner_lets_go() {
    let config = with_labels(&json!({"a": "1"}));
    let nothing = with_labels(&json!({"b": "2"}));
    let live = apply(Some(&created(&config, "a")), &config, &by("b")).unwrap();
    let live = apply(Some(&live), &nothing, &later("a")).unwrap();
    assert_eq!(live["metadata"]["labels"], json!({"a": "1", "b": "2"}));
    let object = apply(Some(&live), &nothing, &later("b")).unwrap();
    assert_eq!(object["metadata"]["labels"], json!({"b": "2"}));
}

#[test]
fn sharing_a_value_is_no_conflict() {
    let config = deployment(&json!({"replicas": 1}));
    let object = apply(Some(&created(&config, "a")), &config, &later("b")).unwrap();
    assert_eq!(owned(&object, "a"), owned(&object, "b"));
}

#[test]
fn another_value_is_a_conflict() {
    let live = created(&deployment(&json!({"replicas": 1})), "a");
    let failure = apply(Some(&live), &deployment(&json!({"replicas": 2})), &later("b")).unwrap_err();
    assert_eq!((failure.code, failure.reason), (409, "Conflict"));
    assert_eq!(
        failure.message,
        "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas"
    );
    assert_eq!(
        failure.details,
        json!({"causes": [{
            "reason": "FieldManagerConflict", "message": "conflict with \"a\"", "field": ".spec.replicas",
        }]})
    );
}

#[test]
fn many_conflicts_are_listed_by_manager() {
    let spec = json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "main", "image": "app:1"}]}}});
    let live = created(&deployment(&spec), "a");
    let live = apply(Some(&live), &deployment(&json!({"replicas": 1})), &by("b")).unwrap();
    let spec = json!({"replicas": 2, "template": {"spec": {"containers": [{"name": "main", "image": "app:2"}]}}});
    let failure = apply(Some(&live), &deployment(&spec), &later("c")).unwrap_err();
    assert_eq!(
        failure.message,
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.replicas\n\
         - .spec.template.spec.containers[name=\"main\"].image\nconflicts with \"b\":\n- .spec.replicas"
    );
}

#[test]
fn force_takes_the_field() {
    let live = created(&deployment(&json!({"replicas": 1, "paused": true})), "a");
    let object = apply(Some(&live), &deployment(&json!({"replicas": 2})), &forced("b")).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 2, "paused": true}));
    assert_eq!(owned(&object, "a"), json!({"f:spec": {"f:paused": {}}}));
    assert_eq!(owned(&object, "b"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn a_manager_without_fields_is_forgotten() {
    let live = created(&deployment(&json!({"replicas": 1})), "a");
    let object = apply(Some(&live), &deployment(&json!({"replicas": 2})), &forced("b")).unwrap();
    assert_eq!(owned(&object, "a"), Value::Null);
}

#[test]
fn atomic_values_have_one_owner() {
    let live = created(&with_containers(&json!([{"name": "main", "args": ["a", "b"]}])), "a");
    let config = with_containers(&json!([{"name": "main", "args": ["c"]}]));
    let failure = apply(Some(&live), &config, &later("b")).unwrap_err();
    assert!(
        failure
            .message
            .ends_with(".spec.template.spec.containers[name=\"main\"].args"),
        "{failure}"
    );
    let object = apply(Some(&live), &config, &forced("b")).unwrap();
    assert_eq!(containers(&object), containers(&config));
}

#[test]
fn a_shard_without_a_known_owner_belongs_to_the_former_owner() {
    let live = deployment(&json!({"replicas": 1, "paused": true}));
    let failure = apply(Some(&live), &deployment(&json!({"replicas": 2})), &by("a")).unwrap_err();
    assert_eq!(
        failure.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas"
    );
    let object = apply(Some(&live), &deployment(&json!({"replicas": 1})), &by("a")).unwrap();
    let object = apply(Some(&object), &deployment(&json!({})), &later("a")).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 1, "paused": true}));
}

#[test]
fn finalizers_are_a_set() {
    let with =
        |finalizers: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"finalizers": finalizers}});
    let live = apply(
        Some(&created(&with(&json!(["a", "b"])), "a")),
        &with(&json!(["c"])),
        &by("b"),
    )
    .unwrap();
    let object = apply(Some(&live), &with(&json!(["b"])), &later("a")).unwrap();
    assert_eq!(object["metadata"]["finalizers"], json!(["b", "c"]));
}

#[test]
fn the_order_of_the_configuration_wins() {
    let named = |names: &[&str]| {
        with_containers(
            &names
                .iter()
                .map(|name| json!({"name": name}))
                .collect::<Vec<_>>()
                .into(),
        )
    };
    for (live, config, expected) in [
        (&["a", "b"][..], &["b", "a"][..], &["b", "a"][..]),
        (&["a", "b"], &["b", "c"], &["a", "b", "c"]),
        (&["a", "x", "b"], &["b", "a"], &["x", "b", "a"]),
        (&["a", "x", "b"], &["a", "n", "b"], &["a", "x", "n", "b"]),
        (&["x"], &["a"], &["x", "a"]),
        (&[], &["a"], &["a"]),
    ] {
        let object = apply(Some(&created(&named(live), "a")), &named(config), &by("b")).unwrap();
        assert_eq!(
            containers(&object),
            containers(&named(expected)),
            "{live:?} and {config:?}"
        );
    }
}

#[test]
fn a_null_takes_a_field_out() {
    let live = created(&deployment(&json!({"replicas": 1, "paused": true})), "a");
    let object = apply(
        Some(&live),
        &deployment(&json!({"replicas": null, "paused": true})),
        &later("a"),
    )
    .unwrap();
    assert_eq!(object["spec"], json!({"paused": true}));
}

#[test]
fn the_main_resource_does_not_write_the_status() {
    let mut config = deployment(&json!({"replicas": 1}));
    config["status"] = json!({"replicas": 1});
    assert_eq!(
        owned(&created(&config, "a"), "a"),
        json!({"f:spec": {"f:replicas": {}}})
    );
}
