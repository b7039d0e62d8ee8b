use serde_json::json;

use super::*;

fn deployment_at(generation: i64, observed: i64) -> Deployment {
    let object = json!({
        "metadata": {"name": "myapp", "uid": "u", "generation": generation},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "myapp"}}, "template": {}},
        "status": {
            "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            ],
        },
    });
    deployment(&serde_json::from_value(object).unwrap())
}

#[test]
fn what_a_deployment_said_of_its_former_spec_is_no_word_on_the_new_one() {
    let seen = deployment_at(2, 2);
    assert!(seen.progress_failed && seen.rolled_out);
    let updated = deployment_at(3, 2);
    assert!(!updated.progress_failed && !updated.rolled_out);
    assert!(
        updated.available_since.is_some(),
        "being scaled makes nobody unavailable"
    );
}

#[test]
fn a_deployment_without_a_pod_is_not_available() {
    let object = json!({
        "metadata": {"name": "myapp", "uid": "u"},
        "spec": {"replicas": 0, "selector": {}, "template": {}},
        "status": {"conditions": [
            {"type": "Available", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]},
    });
    let seen = deployment(&serde_json::from_value(object).unwrap());
    assert_eq!(seen.available_since, None);
}
