//! Conversion between versions: nothing is lost, and nothing changes its meaning.

use proptest::{collection::vec, option, prelude::*};
use serde_json::{Map, Value, json};

use super::{arbitrary::any_of, arbitrary_spec, input};
use crate::{
    api::names::{AS_V1, AS_V1ALPHA1, GROUP},
    convert::{Version, convert},
};

/// An object with some of these fields.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let values: Vec<_> = values.into_iter().map(option::of).collect();
    values
        .prop_map(move |values| {
            let fields = names.iter().zip(values);
            let present = fields.filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            Value::Object(present.collect())
        })
        .boxed()
}

/// Values that fit nowhere, or only by chance.
fn junk() -> BoxedStrategy<Value> {
    any_of(&["null", "7", "''", "yes", "true", "false", "{}", "[]", "{a: 1}", "[7]"]).boxed()
}

fn usually(values: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![9 => values, 1 => junk()].boxed()
}

fn some(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    usually(any_of(values).boxed())
}

fn validation() -> BoxedStrategy<Value> {
    let item = some(&[
        "{manual: {}}",
        "{labelWatch: {deploymentInvalidationLabels: {a: b}}}",
        "{labelWatch: {workloadInvalidationLabels: {a: b}}}",
        "{promQL: {query: up, podNamekey: p}}",
        "{promQL: {query: up, podNameKey: p}}",
        "{promQL: {podNamekey: 1, podNameKey: 2}}",
        "{promQL: 7}",
    ]);
    usually(object(vec![
        ("items", usually(vec(item, 0..3).prop_map(Value::from).boxed())),
        ("noUpdate", some(&["true", "false"])),
        ("initialDelay", some(&["1s"])),
        ("manual", junk()),
        ("labelWatch", junk()),
        ("promQL", junk()),
        ("metric", junk()),
    ]))
}

/// A spec with fields of both versions, in any combination, and with fields of neither.
fn wild() -> BoxedStrategy<Value> {
    let traffic = object(vec![
        ("source", some(&["none", "mirror", "service"])),
        (
            "mirror",
            usually(object(vec![
                ("activate", some(&["true", "false"])),
                ("percent", some(&["5"])),
            ])),
        ),
    ]);
    object(vec![
        (
            "targetRef",
            some(&["{kind: Deployment, name: a}", "{kind: StatefulSet, name: b}"]),
        ),
        ("deploymentName", some(&["a", "b"])),
        ("statefulSetName", some(&["a", "b"])),
        ("validation", validation()),
        ("validations", validation()),
        (
            "rollout",
            usually(object(vec![
                ("mode", some(&["auto", "dry-run"])),
                ("onFailure", some(&["retain"])),
            ])),
        ),
        ("traffic", usually(traffic)),
        ("items", junk()),
        (
            "template",
            some(&[
                "{metadata: {name: a}, spec: {x: [{promQL: {podNamekey: 1}}]}}",
                "{spec: {}}",
            ]),
        ),
        ("other", junk()),
    ])
}

fn spec() -> BoxedStrategy<Value> {
    prop_oneof![arbitrary_spec::spec(), wild()].boxed()
}

fn kanary(version: Version, spec: &Value, name: &str, annotated: bool) -> Value {
    let mut metadata = json!({"name": name, "uid": "u", "generation": 7, "managedFields": [{"manager": "kubectl"}]});
    if annotated {
        metadata["annotations"] = json!({"a": "b"});
    }
    json!({
        "apiVersion": format!("{GROUP}/{}", version.as_str()), "kind": "KanaryDeployment", "metadata": metadata, "spec": spec,
        "status": {"report": {"status": "Running"}},
    })
}

/// The spec after a conversion to the other version and back.
fn there_and_back(object: &Value, version: Version) -> Value {
    let other = Version::ALL.into_iter().find(|other| *other != version).unwrap();
    let there = convert(object.clone(), other).unwrap();
    assert_eq!(there["status"], object["status"]);
    convert(there, version).unwrap()
}

/// Without the annotations that keep words.
fn bare(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| ![AS_V1, AS_V1ALPHA1].contains(&&**name));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_kanary_of_either_version_comes_back_as_it_was(
        spec in spec(), v1 in any::<bool>(), named in prop::bool::weighted(0.9), annotated in any::<bool>(),
    ) {
        let version = Version::ALL[usize::from(v1)];
        let object = kanary(version, &spec, if named { "batman" } else { "" }, annotated);
        prop_assert_eq!(bare(there_and_back(&object, version)), object);
    }

    #[test]
    fn whoever_applies_a_kanary_in_one_version_after_the_other_changes_nothing(spec in spec(), v1 in any::<bool>()) {
        let (from, to) = if v1 { (Version::V1, Version::V1Alpha1) } else { (Version::V1Alpha1, Version::V1) };
        let object = kanary(from, &spec, "batman", false);
        let applied = convert(object.clone(), to).unwrap();
        // What the API server does: it takes away what the same manager applied before, and adds what is applied now.
        let mut rest = convert(applied.clone(), from).unwrap();
        rest.as_object_mut().unwrap().remove("spec");
        let mut rest = convert(rest, to).unwrap();
        rest["spec"] = applied["spec"].clone();
        for (name, value) in rest["metadata"]["annotations"].as_object_mut().into_iter().flatten() {
            value.clone_from(&applied["metadata"]["annotations"][name]);
        }
        let stored = convert(rest, from).unwrap();
        prop_assert_eq!(&stored["spec"], &object["spec"]);
    }

    #[test]
    fn whatever_the_annotation_says_an_edit_in_v1_is_stored_as_it_was_meant(former in spec(), edited in spec()) {
        let mut v1 = convert(kanary(Version::V1Alpha1, &former, "batman", false), Version::V1).unwrap();
        v1["spec"] = edited;
        prop_assert_eq!(&there_and_back(&v1, Version::V1)["spec"], &v1["spec"]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500, max_global_rejects: 20_000, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_client_that_drops_the_annotation_changes_the_words_and_not_the_meaning(
        spec in arbitrary_spec::spec(),
        more in any_of(&[
            "{}", "{deploymentName: null, statefulSetName: db}", "{deploymentName: ''}", "{traffic: {mirror: {activate: true}}}",
            "{traffic: {source: mirror, mirror: {activate: true, percent: 5}}}",
        ]),
        renamed in any::<bool>(),
    ) {
        let mut spec = spec;
        let fields = spec.as_object_mut().unwrap();
        fields.extend(more.as_object().cloned().unwrap_or_else(Map::new));
        if renamed {
            let validation = fields.remove("validation").unwrap();
            fields.insert("validations".to_owned(), validation);
        }
        let meant = input::parse(&spec, None, &Value::Null).spec;
        prop_assume!(meant.is_sound());
        let mut v1 = convert(kanary(Version::V1Alpha1, &spec, "batman", false), Version::V1).unwrap();
        let metadata = v1["metadata"].as_object_mut().unwrap();
        prop_assert!(metadata.remove("annotations").is_none_or(|annotations| annotations[AS_V1ALPHA1].is_string()));
        let stored = convert(v1, Version::V1Alpha1).unwrap();
        let read = input::parse(&stored["spec"], None, &Value::Null).spec;
        prop_assert_eq!(format!("{read:?}"), format!("{meant:?}"));
    }
}
