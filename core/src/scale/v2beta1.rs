//! Metrics in the form of autoscaling/v2beta1, which manifests for the first Kanary operator use, turned into those of autoscaling/v2.
//! The rules are those by which Kubernetes itself converted that version, up to 1.24.

use serde_json::{Map, Value, json};

/// A metric of `spec.scale.hpa.metrics` in the form of autoscaling/v2. One that has this form already, or that neither version knows,
/// stays as it is: the API server judges it.
///
/// # Errors
///
/// Fails if a metric mixes the forms, or has two targets, with a sentence on how to fix it.
pub(super) fn converted(index: usize, mut metric: Value) -> Result<Value, String> {
    for (source, fields) in metric.as_object_mut().into_iter().flatten() {
        let Some(fields) = fields.as_object_mut() else {
            continue;
        };
        let is_old = OLD.iter().any(|name| fields.contains_key(*name));
        if is_old && SOURCES.contains(&source.as_str()) {
            let place = format!("spec.scale.hpa.metrics[{index}].{source}");
            *fields = in_v2(source, &place, std::mem::take(fields))?;
        }
    }
    Ok(metric)
}

const SOURCES: [&str; 5] = ["resource", "containerResource", "pods", "object", "external"];

/// Fields that only autoscaling/v2beta1 has.
const OLD: [&str; 6] = [
    "metricName",
    "metricSelector",
    "targetAverageUtilization",
    "targetAverageValue",
    "targetValue",
    "averageValue",
];

fn in_v2(source: &str, place: &str, mut old: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut new = Map::new();
    let target = target(source, place, &mut old)?;
    if let Some(name) = old.remove("metricName") {
        let mut metric = Map::from_iter([("name".to_owned(), name)]);
        if let Some(selector) = old.remove("metricSelector").or_else(|| old.remove("selector")) {
            metric.insert("selector".to_owned(), selector);
        }
        new.insert("metric".to_owned(), Value::Object(metric));
    }
    // In that version, the object that a metric is about is called its target.
    if let Some(described) = old.remove("target") {
        if source != "object" || described.get("kind").is_none() {
            return Err(format!(
                "{place} has target and fields of autoscaling/v2beta1: keep target, in the form of autoscaling/v2"
            ));
        }
        new.insert("describedObject".to_owned(), described);
    }
    if let Some(target) = target {
        new.insert("target".to_owned(), target);
    }
    new.extend(old);
    Ok(new)
}

/// Takes the target out of the fields.
fn target(source: &str, place: &str, old: &mut Map<String, Value>) -> Result<Option<Value>, String> {
    let utilization = old.remove("targetAverageUtilization");
    let average = old.remove("targetAverageValue").or_else(|| old.remove("averageValue"));
    // Objects require a value in that version, also where an average goes before it.
    let value = old
        .remove("targetValue")
        .filter(|_| source != "object" || average.is_none());
    Ok(match (utilization, average, value) {
        (None, None, None) => None,
        (Some(utilization), None, None) => Some(json!({"type": "Utilization", "averageUtilization": utilization})),
        (None, Some(average), None) => Some(json!({"type": "AverageValue", "averageValue": average})),
        (None, None, Some(value)) => Some(json!({"type": "Value", "value": value})),
        _ => return Err(format!("{place} has several targets: keep one of them")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, new: &Value) {
        let converted = converted(0, old).unwrap();
        assert_eq!(&converted, new);
        assert_eq!(
            &super::converted(0, converted.clone()).unwrap(),
            new,
            "what is new stays as it is"
        );
    }

    #[test]
    fn resources_of_pods_and_containers() {
        check(
            json!({"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 60}}),
            &json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}),
        );
        check(
            json!({"type": "ContainerResource", "containerResource": {"name": "memory", "container": "app", "targetAverageValue": "1Gi"}}),
            &json!({"type": "ContainerResource", "containerResource": {"name": "memory", "container": "app",
                "target": {"type": "AverageValue", "averageValue": "1Gi"}}}),
        );
    }

    #[test]
    fn metrics_of_pods_objects_and_others() {
        let selector = json!({"matchLabels": {"queue": "a"}});
        check(
            json!({"type": "Pods", "pods": {"metricName": "rps", "selector": selector, "targetAverageValue": 10}}),
            &json!({"type": "Pods", "pods": {"metric": {"name": "rps", "selector": selector},
                "target": {"type": "AverageValue", "averageValue": 10}}}),
        );
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "shop"});
        check(
            json!({"type": "Object", "object": {"metricName": "rps", "target": ingress, "targetValue": "2k"}}),
            &json!({"type": "Object", "object": {"metric": {"name": "rps"}, "describedObject": ingress,
                "target": {"type": "Value", "value": "2k"}}}),
        );
        check(
            json!({"type": "Object", "object": {"metricName": "rps", "target": ingress, "targetValue": "0", "averageValue": "5"}}),
            &json!({"type": "Object", "object": {"metric": {"name": "rps"}, "describedObject": ingress,
                "target": {"type": "AverageValue", "averageValue": "5"}}}),
        );
        check(
            json!({"type": "External", "external": {"metricName": "depth", "metricSelector": selector, "targetValue": "30"}}),
            &json!({"type": "External", "external": {"metric": {"name": "depth", "selector": selector},
                "target": {"type": "Value", "value": "30"}}}),
        );
    }

    #[test]
    fn what_neither_version_knows_stays_as_it_is() {
        for metric in [
            json!(7),
            json!({"type": "Resource"}),
            json!({"other": {"metricName": "rps"}}),
            json!({"pods": 1}),
        ] {
            check(metric.clone(), &metric);
        }
    }

    #[test]
    fn mixed_forms_and_two_targets_are_refused() {
        let resource = |fields: Value| converted(2, json!({"type": "Resource", "resource": fields})).unwrap_err();
        assert_eq!(
            resource(
                json!({"name": "cpu", "targetAverageUtilization": 60, "target": {"type": "Utilization", "averageUtilization": 50}})
            ),
            "spec.scale.hpa.metrics[2].resource has target and fields of autoscaling/v2beta1: keep target, in the form of autoscaling/v2"
        );
        assert_eq!(
            resource(json!({"name": "cpu", "targetAverageUtilization": 60, "targetAverageValue": "1"})),
            "spec.scale.hpa.metrics[2].resource has several targets: keep one of them"
        );
        let external = json!({"metricName": "depth", "targetValue": "30", "targetAverageValue": "5"});
        assert_eq!(
            converted(0, json!({"type": "External", "external": external})).unwrap_err(),
            "spec.scale.hpa.metrics[0].external has several targets: keep one of them"
        );
    }
}
