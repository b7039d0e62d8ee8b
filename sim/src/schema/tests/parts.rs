//! Pruning, defaulting and ratcheting validation.

use serde_json::{Value, json};

use super::{decoded, sample};
use crate::schema::Schema;

fn compile(schema: &Value) -> Schema {
    Schema::compile(schema).unwrap()
}

fn prune(schema: &Schema, mut object: Value) -> (Value, Vec<String>) {
    let gone = schema.prune(&mut object);
    (object, gone)
}

#[test]
fn an_unknown_field_goes_and_is_named() {
    let object = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "any": 1}, "top": 1,
        "spec": {"foo": 1, "ports": [{"name": "a", "bar": {"deep": 1}}], "labels": {"any": "x"}}});
    let (object, gone) = prune(&sample(), object);
    assert_eq!(gone, ["spec.foo", "spec.ports[0].bar", "top"]);
    assert_eq!(
        object["spec"],
        json!({"ports": [{"name": "a"}], "labels": {"any": "x"}})
    );
    assert_eq!(object["metadata"]["any"], 1);
}

#[test]
fn preserved_fields_stay_but_declared_ones_among_them_are_pruned() {
    let (object, gone) = prune(
        &sample(),
        json!({"spec": {"free": {"a": {"b": 1}, "known": {"a": "x", "b": 1}}}}),
    );
    assert_eq!(gone, ["spec.free.known.b"]);
    assert_eq!(object["spec"]["free"], json!({"a": {"b": 1}, "known": {"a": "x"}}));
}

#[test]
fn the_items_of_a_preserved_list_are_preserved() {
    let schema = compile(
        &json!({"properties": {"list": {"type": "array", "x-kubernetes-preserve-unknown-fields": true,
        "items": {"type": "object", "properties": {"a": {"type": "object"}}}}}}),
    );
    let (object, gone) = prune(&schema, json!({"list": [{"b": 1, "a": {"c": 1}}]}));
    assert_eq!(
        (object, gone),
        (json!({"list": [{"b": 1, "a": {}}]}), vec!["list[0].a.c".to_owned()])
    );
}

#[test]
fn an_embedded_object_keeps_its_type_and_metadata() {
    let schema = compile(&json!({"properties": {"pod": {"type": "object", "x-kubernetes-embedded-resource": true}}}));
    let (_, gone) = prune(
        &schema,
        json!({"pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}}),
    );
    assert_eq!(gone, ["pod.spec"]);
}

#[test]
fn a_field_called_metadata_below_the_object_is_like_any_other() {
    let schema = compile(&json!({"properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}}));
    let (_, gone) = prune(&schema, json!({"spec": {"metadata": {}, "kind": "x"}}));
    assert_eq!(gone, ["spec.kind", "spec.metadata"]);
}

#[test]
fn defaults_reach_into_what_other_defaults_make() {
    let mut object = json!({"spec": {"ports": [{"name": "a"}]}});
    sample().default(&mut object);
    assert_eq!(
        object,
        json!({"status": {"phase": "New"},
        "spec": {"name": "none", "ports": [{"name": "a", "proto": "TCP"}]}})
    );
}

#[test]
fn null_goes_where_it_is_no_value() {
    let mut object =
        json!({"status": null, "spec": {"name": null, "small": null, "nothing": null, "free": {"a": null}}});
    sample().default(&mut object);
    let spec = json!({"name": "none", "nothing": null, "free": {"a": null}});
    assert_eq!(object, json!({"spec": spec, "status": {"phase": "New"}}));
}

#[test]
fn what_was_wrong_before_may_stay_wrong() {
    let schema = sample();
    let old = decoded(&schema, &json!({"name": "toolong", "cel": {"leaf": "bad"}, "small": 1}));
    let mut new = old.clone();
    new["spec"]["small"] = json!(2);
    assert_eq!(schema.validate(&new, Some(&old)), []);
    new["spec"]["name"] = json!("toolonger");
    assert_eq!(schema.validate(&new, Some(&old))[0].field, "spec.name");
}

#[test]
fn a_rule_is_asked_again_when_its_value_changes() {
    let schema = sample();
    let old = decoded(&schema, &json!({"name": "x", "cel": {"dur": "1ms", "aint": 3}}));
    let mut new = old.clone();
    new["spec"]["cel"]["anum"] = json!(3);
    let causes = schema.validate(&new, Some(&old));
    assert_eq!(causes.len(), 1);
    assert_eq!(causes[0].message, "Invalid value: too short");
}

#[test]
fn an_item_of_a_plain_list_is_compared_with_the_list() {
    let schema = sample();
    let old = decoded(&schema, &json!({"name": "x", "cel": {"list": [7]}}));
    let mut new = old.clone();
    new["spec"]["cel"]["aint"] = json!(3);
    assert_eq!(schema.validate(&new, Some(&old)), []);
    new["spec"]["cel"]["list"] = json!([7, 8]);
    assert_eq!(schema.validate(&new, Some(&old))[0].field, "spec.cel.list[0]");
}

#[test]
fn a_schema_that_cannot_be_served_is_refused() {
    let broken = |schema: Value| Schema::compile(&json!({"properties": {"a": schema}})).unwrap_err();
    assert_eq!(
        broken(json!({"type": "text"})),
        "openAPIV3Schema.properties[a].type: Unsupported value: \"text\""
    );
    assert!(broken(json!({"pattern": "("})).starts_with("openAPIV3Schema.properties[a].pattern: Invalid value: \"(\""));
    let rule = json!({"x-kubernetes-validations": [{"rule": "self >"}]});
    assert!(broken(rule).starts_with("openAPIV3Schema.properties[a].x-kubernetes-validations[0].rule: Invalid value"));
}

#[test]
fn types_without_bounds_are_distinguished() {
    let schema = compile(&json!({"properties": {
        "blob": {"type": "string", "format": "byte"}, "host": {"type": "string", "format": "hostname"},
        "id": {"type": "string", "format": "uuid"}, "link": {"type": "string", "format": "uri"},
        "four": {"type": "string", "format": "ipv4"}, "net": {"type": "string", "format": "cidr"},
        "mail": {"type": "string", "format": "email"}, "when": {"type": "string", "format": "date-time"},
        "every": {"type": "string", "format": "duration"}, "short": {"type": "string", "format": "k8s-short-name"},
    }}));
    let good = json!({"blob": "aGk=", "host": "a.b-c", "id": "01234567-89ab-cdef-0123-456789abcdef", "four": "10.0.0.1",
        "link": "https://a/b?c", "net": "10.0.0.0/8", "mail": "Ann <a@b.c>", "when": "2020-02-03T04:05:06.7+01:00",
        "every": "1h30m", "short": "a-b"});
    assert_eq!(schema.validate(&good, None), []);
    let bad = json!({"blob": "aGk", "host": "a..b", "id": "0123", "link": "a b", "four": "1", "net": "10.0.0.0/33",
        "mail": "@b", "when": "2020-02-03T24:05:06Z", "every": "1y", "short": "-a"});
    let fields: Vec<_> = schema
        .validate(&bad, None)
        .into_iter()
        .map(|cause| cause.field)
        .collect();
    assert_eq!(
        fields,
        [
            "blob", "every", "four", "host", "id", "link", "mail", "net", "short", "when", "<nil>"
        ]
    );
}
