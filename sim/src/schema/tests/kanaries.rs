//! The rules of Kanary's own kinds, with valid and invalid objects for each.

use serde_json::{Value, json};

use super::{differences, schema_of};
use crate::schema::Schema;

const CRDS: [&str; 2] = [
    include_str!("../../../../crds/kanarydeployments.yaml"),
    include_str!("../../../../crds/kanarystatefulsets.yaml"),
];

fn kanary(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "kanary.k8s-operators.dev/v1alpha1", "kind": "KanaryDeployment",
           "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn schema() -> Schema {
    schema_of(CRDS[0])
}

#[test]
fn kanaries_are_refused_as_an_api_server_refuses_them() {
    let answers = include_str!("kanary.jsonl");
    // A target that no field names has another kind.
    let differs = |line: &&str| line.starts_with(r#"{"old": {}, "new": {"statefulSetName": "s"}"#);
    let of_both: Vec<_> = answers.lines().filter(|line| !differs(line)).collect();
    let of_sets = of_both.join("\n") + "\n" + include_str!("kanarystatefulset.jsonl");
    for (crd, answers) in CRDS.into_iter().zip([answers, &of_sets]) {
        let different = differences(&schema_of(crd), answers, true);
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
}

#[test]
fn a_name_that_is_no_label_value_is_refused() {
    let spec = json!({"template": {"spec": {}}});
    assert_eq!(schema().validate(&kanary(&"k".repeat(63), &spec), None), []);
    let causes = schema().validate(&kanary(&"k".repeat(64), &spec), None);
    let why = "Invalid value: the name of a Kanary is a label value: use 63 characters at most";
    assert_eq!((causes[0].field.as_str(), causes[0].message.as_str()), ("<nil>", why));
}

#[test]
fn a_dotted_name_is_refused_where_the_canarys_service_is_named_after_it() {
    let spec = |traffic: &Value| json!({"template": {"spec": {}}, "serviceName": "myapp", "traffic": traffic});
    for good in [
        json!({"source": "service"}),
        json!({"source": "both", "kanaryService": "myapp-canary"}),
    ] {
        assert_eq!(schema().validate(&kanary("bat.man", &spec(&good)), None), []);
    }
    for source in ["kanary-service", "both"] {
        let causes = schema().validate(&kanary("bat.man", &spec(&json!({"source": source}))), None);
        let why = "Invalid value: the canary's Service is named after the Kanary, and the name of a Service has no dots: set \
                   spec.traffic.kanaryService, or rename the Kanary";
        assert_eq!((causes[0].field.as_str(), causes[0].message.as_str()), ("<nil>", why));
    }
}

#[test]
fn too_many_items_are_refused() {
    let items = vec![json!({"manual": {}}); 501];
    let spec = json!({"template": {"spec": {}}, "validation": {"items": items}});
    let causes = schema().validate(&kanary("batman", &spec), None);
    assert_eq!(causes[0].message, "Too many: 501: must have at most 500 items");
}

#[test]
fn every_message_of_a_rule_is_in_the_answers() {
    let mut rules = Vec::new();
    collect_messages(&serde_yaml_ng::from_str(CRDS[0]).unwrap(), &mut rules);
    assert_eq!(
        rules.len(),
        99,
        "the number of rules changed: record the answers of a real API server for them"
    );
    let unanswered: Vec<_> = rules
        .iter()
        .filter(|message| !include_str!("kanary.jsonl").contains(&serde_json::to_string(message).unwrap()[1..]))
        // The behaviour suite covers these.
        .filter(|message| {
            !["63 characters", "status.epoch", "the target (", "has no dots"]
                .iter()
                .any(|asked| message.contains(asked))
        })
        .collect();
    assert_eq!(unanswered, Vec::<&String>::new());
}

fn collect_messages(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key("rule") {
                out.push(fields["message"].as_str().unwrap().to_owned());
            }
            fields.values().for_each(|value| collect_messages(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_messages(value, out)),
        _ => {}
    }
}

#[test]
fn a_fresh_kanary_gets_its_status() {
    let mut object = kanary("batman", &json!({"template": {"spec": {}}}));
    schema().default(&mut object);
    assert_eq!(
        object["status"],
        json!({"observedGeneration": -1, "report": {"status": "Scheduled"}})
    );
}

#[test]
fn a_status_is_checked_too() {
    let mut object = kanary("batman", &json!({"template": {"spec": {}}}));
    object["status"] = json!({"conditions": [{"type": "Failed", "status": "Maybe"}], "startTime": "now"});
    let causes = schema().validate(&object, None);
    let fields: Vec<_> = causes.iter().map(|cause| cause.field.as_str()).collect();
    for field in [
        "status.conditions[0].status",
        "status.conditions[0].reason",
        "status.startTime",
    ] {
        assert!(fields.contains(&field), "{field} in {fields:?}");
    }
}
