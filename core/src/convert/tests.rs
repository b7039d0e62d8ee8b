use serde_json::json;

use super::*;

fn kanary(version: Version, spec: &str) -> Value {
    let spec: Value = serde_yaml_ng::from_str(spec).unwrap();
    json!({
        "apiVersion": format!("{GROUP}/{}", version.as_str()), "kind": "KanaryDeployment",
        "metadata": {"name": "batman", "annotations": {"mine": "yes"}}, "spec": spec,
    })
}

fn converted(object: &Value, to: Version) -> Value {
    convert(object.clone(), to).unwrap()
}

/// Without the annotations that keep words.
fn bare(mut object: Value) -> Value {
    let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
    annotations.retain(|name, _| ![AS_V1, AS_V1ALPHA1].contains(&&**name));
    object
}

/// The spec in `v1` of one in `v1alpha1`.
fn v1(spec: &str) -> Value {
    converted(&kanary(Version::V1Alpha1, spec), Version::V1)["spec"].clone()
}

fn yaml(text: &str) -> Value {
    serde_yaml_ng::from_str(text).unwrap()
}

#[test]
fn each_thing_has_one_name_in_v1() {
    let target = "targetRef: {kind: Deployment, name: batman}";
    for (alpha, shown) in [
        ("{}", format!("{{{target}}}")),
        ("{deploymentName: ''}", format!("{{{target}}}")),
        (
            "{deploymentName: myapp}",
            "{targetRef: {kind: Deployment, name: myapp}}".to_owned(),
        ),
        (
            "{statefulSetName: db}",
            "{targetRef: {kind: StatefulSet, name: db}}".to_owned(),
        ),
        (
            "{targetRef: {kind: StatefulSet, name: db}, statefulSetName: db}",
            "{targetRef: {kind: StatefulSet, name: db}}".to_owned(),
        ),
        (
            "{template: {metadata: {name: myapp}}}",
            "{template: {metadata: {name: myapp}}, targetRef: {kind: Deployment, name: myapp}}".to_owned(),
        ),
        (
            "{validations: {initialDelay: 1s}}",
            format!("{{validation: {{initialDelay: 1s}}, {target}}}"),
        ),
        (
            "{validation: {noUpdate: true}}",
            format!("{{validation: {{}}, rollout: {{mode: dry-run}}, {target}}}"),
        ),
        (
            "{validations: {noUpdate: true}, rollout: {mode: auto, onFailure: retain}}",
            format!("{{validation: {{}}, rollout: {{mode: dry-run, onFailure: retain}}, {target}}}"),
        ),
        (
            "{validation: {noUpdate: false}, rollout: {mode: dry-run}}",
            format!("{{validation: {{}}, rollout: {{mode: dry-run}}, {target}}}"),
        ),
        (
            "{traffic: {mirror: {activate: true, percent: 5}}}",
            format!("{{traffic: {{source: mirror, mirror: {{percent: 5}}}}, {target}}}"),
        ),
        (
            "{traffic: {source: service, mirror: {activate: false}}}",
            format!("{{traffic: {{source: service, mirror: {{}}}}, {target}}}"),
        ),
        (
            "{validation: {items: [{promQL: {query: up, podNamekey: p}}, {labelWatch: {deploymentInvalidationLabels: {a: b}}}, 7]}}",
            format!(
                "{{validation: {{items: [{{promQL: {{query: up, podNameKey: p}}}}, {{labelWatch: {{workloadInvalidationLabels: \
                 {{a: b}}}}}}, 7]}}, {target}}}"
            ),
        ),
    ] {
        assert_eq!(v1(alpha), yaml(&shown), "{alpha}");
    }
}

#[test]
fn what_v1_cannot_say_comes_back_with_the_annotation() {
    for spec in [
        "{}",
        "{deploymentName: '', validations: {noUpdate: false, items: [7]}, validation: null}",
        "{items: [], validation: {manual: {}, promQL: 7, noUpdate: 'yes'}, validations: {items: []}}",
        "{targetRef: null, rollout: 7, validation: {noUpdate: true}, traffic: {mirror: {activate: true}}}",
    ] {
        let alpha = kanary(Version::V1Alpha1, spec);
        let v1 = converted(&alpha, Version::V1);
        assert!(v1["metadata"]["annotations"][AS_V1ALPHA1].is_string(), "{spec}");
        let back = converted(&v1, Version::V1Alpha1);
        assert_eq!(back["metadata"], v1["metadata"], "the next conversion needs them too");
        assert_eq!(bare(back), alpha, "{spec}");
    }
    let alike = kanary(
        Version::V1Alpha1,
        "{targetRef: {kind: Deployment, name: myapp}, rollout: {mode: dry-run}, validation: {items: []}}",
    );
    let v1 = converted(&alike, Version::V1);
    assert_eq!(v1["metadata"], alike["metadata"], "there is nothing to keep");
}

#[test]
fn an_edit_in_v1_wins_over_the_words_of_v1alpha1() {
    let alpha = "{deploymentName: myapp, validations: {noUpdate: true, items: []}}";
    let edited = |edit: fn(&mut Value)| {
        let mut v1 = converted(&kanary(Version::V1Alpha1, alpha), Version::V1);
        edit(&mut v1["spec"]);
        let stored = converted(&v1, Version::V1Alpha1);
        assert_eq!(converted(&stored, Version::V1)["spec"], v1["spec"]);
        stored["spec"].clone()
    };
    assert_eq!(
        edited(|spec| spec["validation"]["items"] = json!([{"manual": {}}])),
        yaml("{deploymentName: myapp, validations: {noUpdate: true, items: [{manual: {}}]}}")
    );
    assert_eq!(
        edited(|spec| spec["rollout"]["mode"] = json!("auto")),
        yaml("{deploymentName: myapp, validations: {items: []}, rollout: {mode: auto}}")
    );
    assert_eq!(
        edited(|spec| drop(spec.as_object_mut().unwrap().remove("validation"))),
        yaml("{deploymentName: myapp, rollout: {mode: dry-run}}")
    );
    assert_eq!(
        edited(|spec| spec["targetRef"]["name"] = json!("other")),
        yaml("{targetRef: {kind: Deployment, name: other}, validations: {noUpdate: true, items: []}}")
    );
}

#[test]
fn what_was_kept_before_stays_beside_what_is_new() {
    let former = kanary(Version::V1Alpha1, "{deploymentName: a, validation: {noUpdate: true}}");
    let kept = converted(&former, Version::V1)["metadata"]["annotations"][AS_V1ALPHA1].clone();
    let again = |spec: &str| {
        let mut alpha = kanary(Version::V1Alpha1, spec);
        alpha["metadata"]["annotations"][AS_V1ALPHA1] = kept.clone();
        let v1 = converted(&alpha, Version::V1);
        v1["metadata"]["annotations"][AS_V1ALPHA1].as_str().unwrap().to_owned()
    };
    assert_eq!(again("{deploymentName: a}"), kept.as_str().unwrap());
    let more = again("{deploymentName: a, validations: {}}");
    let more: Vec<Value> = serde_json::from_str(&more).unwrap();
    let former: Vec<Value> = serde_json::from_str(kept.as_str().unwrap()).unwrap();
    assert!(
        former.iter().all(|patch| more.contains(patch)) && more.len() > former.len(),
        "{more:?}"
    );
}

#[test]
fn a_forged_annotation_costs_little() {
    let double = json!([{"op": "copy", "from": "", "path": "/x"}]);
    for forged in [
        json!(vec![double; 40]),
        json!(vec![json!([]); 10_000]),
        json!("[["),
        json!({}),
    ] {
        let mut v1 = kanary(Version::V1, "{targetRef: {kind: Deployment, name: a}}");
        v1["metadata"]["annotations"][AS_V1ALPHA1] = forged.to_string().into();
        let expected = kanary(Version::V1Alpha1, "{targetRef: {kind: Deployment, name: a}}");
        assert_eq!(bare(converted(&v1, Version::V1Alpha1)), expected);
    }
    assert_eq!(patches(&json!(vec![json!([]); 40]).to_string()).len(), PATCHES);
}

#[test]
fn what_is_no_kanary_of_the_group_is_refused() {
    for (api_version, kind) in [
        ("kanary.k8s.io/v1alpha1", "KanaryDeployment"),
        ("kanary.k8s-operators.dev/v2", "KanaryDeployment"),
        ("kanary.k8s-operators.dev/v1", "Pod"),
        ("v1", "KanaryDeployment"),
    ] {
        let object = json!({"apiVersion": api_version, "kind": kind, "spec": {}});
        let error = convert(object, Version::V1).unwrap_err();
        assert!(error.contains(api_version) && error.contains(kind), "{error}");
    }
    let unfit = json!({"apiVersion": "kanary.k8s-operators.dev/v1", "kind": "KanaryStatefulset", "spec": 7});
    assert_eq!(converted(&unfit, Version::V1), unfit, "it has this version already");
    assert_eq!(converted(&unfit, Version::V1Alpha1)["spec"], 7);
}

#[test]
fn the_target_of_a_kanary_daemonset_without_a_name_is_a_daemon_set_in_both_versions() {
    for (from, to) in [(Version::V1Alpha1, Version::V1), (Version::V1, Version::V1Alpha1)] {
        let mut object = kanary(from, "{template: {metadata: {name: agent}}}");
        object["kind"] = json!("KanaryDaemonset");
        let there = converted(&object, to);
        assert_eq!(
            there["spec"]["targetRef"],
            json!({"kind": "DaemonSet", "name": "agent"})
        );
        assert_eq!(converted(&there, from)["spec"], object["spec"]);
    }
}
