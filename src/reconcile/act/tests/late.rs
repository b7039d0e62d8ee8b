//! Writes that the API server carries out late, after others have changed the object.

use kanary_core::decision::SetTemplate;

use super::*;

#[tokio::test]
async fn a_promotion_that_arrives_late_does_not_apply_to_a_template_that_was_restored() {
    let read = target("i", &json!([]));
    let (writer, asked) = replying(vec![
        (422, json!({"kind": "Status", "code": 422, "reason": "Invalid"})),
        (200, {
            let mut restored = read.clone();
            restored["metadata"]["generation"] = json!(4);
            restored
        }),
    ]);
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let promote = Action::SetTemplate(SetTemplate {
        target: WorkloadRef::new(WorkloadKind::Deployment, "myapp"),
        uid: "t".to_owned(),
        former: read["spec"]["template"].clone(),
        template: json!({"spec": {"containers": [{"name": "c", "image": "i2"}]}}),
        generation: Some(2),
        annotated: false,
        marker: "u/h-1".to_owned(),
        cause: "promoted".to_owned(),
        partition: None,
        strategy_is_bare: false,
        version: None,
    });
    let error = writer.act(&batman, &promote, right(&batman)).await.unwrap_err();
    // The template is the one that was read, but it was replaced in the meantime, so this is not a refusal.
    assert_eq!(error.class(), Class::Conflict);
    let test = json!({"op": "test", "path": "/metadata/generation", "value": 2});
    assert!(asked.lock().unwrap()[0].1.as_array().unwrap().contains(&test));
}

#[tokio::test]
async fn a_canary_that_changed_since_it_was_seen_is_deleted_in_its_new_version() {
    let canary = |version: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "c", "namespace": "shop", "uid": "d", "resourceVersion": version},
            "spec": {"selector": {}, "template": {}},
        })
    };
    let gone = json!({"kind": "Status", "status": "Success"});
    let conflict = json!({"kind": "Status", "code": 409, "reason": "Conflict"});
    let (writer, asked) = replying(vec![(409, conflict), (200, canary("9")), (200, gone)]);
    Deployment::put(&writer.cache, &serde_json::from_value(canary("7")).unwrap());
    let batman = ParsedKanary::parse(KanaryKind::Deployment, &batman()).unwrap();
    let delete = Action::Delete {
        object: ObjectKind::Workload(WorkloadKind::Deployment),
        name: "c".to_owned(),
        uid: "d".to_owned(),
        unchanged: true,
    };
    let error = writer.act(&batman, &delete, right(&batman)).await.unwrap_err();
    assert_eq!(error.class(), Class::Conflict);
    writer.act(&batman, &delete, right(&batman)).await.unwrap();
    let asked = asked.lock().unwrap();
    let versions = [0, 2].map(|index| asked[index].1["preconditions"]["resourceVersion"].clone());
    assert_eq!(versions, [json!("7"), json!("9")]);
}
