//! Values in answers.

use serde_json::{Value, json};

use super::{
    super::{Flaw, MetricAnswer, MetricValue, Requests},
    at, cpu, external, metric, usage, utilization,
};
use crate::validation::Outcome;

fn container(target: &str) -> super::Metric {
    metric(&format!(
        "type: ContainerResource\ncontainerResource: {{name: cpu, container: main, target: {target}}}"
    ))
}

/// The values of an answer, or why there are none.
fn found(answer: MetricAnswer) -> Result<Vec<(String, f64)>, String> {
    match answer {
        MetricAnswer::Values(values) => {
            let found = values.into_iter().map(|value| match value {
                Ok(value) => Ok((value.object, value.value)),
                Err(flaw) => Err(flaw.why),
            });
            found.collect()
        }
        MetricAnswer::Unknown(why) | MetricAnswer::Unanswered(why) | MetricAnswer::Rejected(why) => Err(why),
    }
}

fn read_values(answer: &MetricAnswer) -> Vec<&MetricValue> {
    match answer {
        MetricAnswer::Values(values) => values.iter().flatten().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_usage_of_a_pod_is_that_of_its_containers() {
    let body =
        json!({"items": [usage("a", &[("main", "100m"), ("proxy", "25000000n")]), usage("b", &[("main", "1")])]});
    let read = cpu().read(&body, &Requests::default());
    let first = read_values(&read)[0];
    assert_eq!((first.at, first.window.as_millis()), (at(30), 15_500));
    let expected = |one, two| Ok(vec![("a".to_owned(), one), ("b".to_owned(), two)]);
    assert_eq!(found(read), expected(0.125, 1.0));
    let main = container("{type: AverageValue, averageValue: 1}");
    assert_eq!(found(main.read(&body, &Requests::default())), expected(0.1, 1.0));
    let without = json!({"items": [usage("a", &[("proxy", "1")])]});
    let why = found(main.read(&without, &Requests::default())).unwrap_err();
    assert_eq!(why, "pod a has no container main in its metrics");
}

/// A pod with containers and their requests of CPU.
fn pod(name: &str, containers: &[(&str, Option<&str>)]) -> Value {
    let containers: Vec<_> = containers
        .iter()
        .map(|(name, cpu)| json!({"name": name, "resources": {"requests": cpu.map(|cpu| json!({"cpu": cpu}))}}))
        .collect();
    json!({"metadata": {"name": name}, "spec": {"containers": containers}})
}

#[test]
fn a_part_of_the_values_proves_nothing() {
    let mut body = json!({"items": [usage("a", &[("main", "10m")])], "metadata": {"continue": ""}});
    assert!(found(cpu().read(&body, &Requests::default())).is_ok());
    body["metadata"]["continue"] = json!("next");
    let why = found(cpu().read(&body, &Requests::default())).unwrap_err();
    assert_eq!(why, "metrics.k8s.io/v1beta1 answers with a part of the values");
}

#[test]
fn a_container_that_is_left_out_does_not_make_the_utilization_smaller() {
    let both = Requests::of(&json!({"items": [pod("a", &[("main", Some("100m")), ("proxy", Some("1"))])]}));
    for (measured, left_out) in [("main", "proxy"), ("proxy", "main")] {
        let body = json!({"items": [usage("a", &[(measured, "10m")])]});
        let why = found(utilization().read(&body, &both)).unwrap_err();
        assert_eq!(why, format!("pod a has no container {left_out} in its metrics"));
    }
}

#[test]
fn utilization_is_relative_to_the_requests_of_the_same_containers() {
    let body = json!({"items": [usage("a", &[("main", "100m"), ("proxy", "100m")])]});
    let both = [("main", Some("200m")), ("proxy", Some("50m"))];
    let of = |metric: &super::Metric, pods: Value| found(metric.read(&body, &Requests::of(&pods)));
    let percent = |percent| Ok(vec![("a".to_owned(), percent)]);
    let main = container("{type: Utilization, averageUtilization: 80}");
    assert_eq!(of(&utilization(), json!({"items": [pod("a", &both)]})), percent(80.0));
    assert_eq!(of(&main, json!({"items": [pod("a", &both)]})), percent(50.0));
    // A sidecar counts, another init container does not, and requests of the whole pod replace the others.
    let mut with_init = pod("a", &[("main", Some("100m"))]);
    with_init["spec"]["initContainers"] = json!([
        {"name": "sidecar", "restartPolicy": "Always", "resources": {"requests": {"cpu": "300m"}}},
        {"name": "setup", "resources": {"requests": {"cpu": "9"}}},
    ]);
    let of_both = json!({"items": [usage("a", &[("main", "100m"), ("sidecar", "100m")])]});
    let requests = Requests::of(&json!({"items": [with_init]}));
    assert_eq!(found(utilization().read(&of_both, &requests)), percent(50.0));
    let mut whole = pod("a", &both);
    whole["spec"]["resources"] = json!({"requests": {"cpu": "1"}});
    assert_eq!(of(&utilization(), json!({"items": [whole]})), percent(20.0));
    // A pod that is gone has no value.
    assert_eq!(of(&utilization(), json!({"items": []})), Ok(Vec::new()));
}

#[test]
fn without_a_request_there_is_no_utilization() {
    let body = json!({"items": [usage("a", &[("main", "100m"), ("proxy", "100m")])]});
    let pods = json!({"items": [pod("a", &[("main", Some("200m")), ("proxy", None)])]});
    let answer = utilization().read(&body, &Requests::of(&pods));
    let why = "container proxy of pod a requests no cpu, so there is no utilization: set resources.requests.cpu in the \
               template, or use AverageValue";
    let flaw = Flaw {
        object: "a".to_owned(),
        outcome: Outcome::Invalid,
        why: why.to_owned(),
    };
    assert_eq!(answer, MetricAnswer::Values(vec![Err(flaw)]));
    // A request of nothing is none.
    let mut nothing = pod("a", &[("main", Some("0")), ("proxy", Some("0"))]);
    nothing["spec"]["resources"] = json!({"requests": {"cpu": "0"}});
    let answer = utilization().read(&body, &Requests::of(&json!({"items": [nothing]})));
    assert!(
        found(answer)
            .unwrap_err()
            .contains("container main of pod a requests no cpu")
    );
    // The request of another container is not needed.
    let main = container("{type: Utilization, averageUtilization: 80}");
    assert_eq!(
        found(main.read(&body, &Requests::of(&pods))),
        Ok(vec![("a".to_owned(), 50.0)])
    );
}

#[test]
fn custom_and_external_values_have_a_time_and_perhaps_a_window() {
    let custom = metric("type: Pods\npods: {metric: {name: errors}, target: {type: AverageValue, averageValue: 1}}");
    let body = json!({"items": [
        {"describedObject": {"kind": "Pod", "name": "a"}, "timestamp": at(9), "windowSeconds": 60, "value": "1500m"},
        {"describedObject": {"kind": "Pod", "name": "b"}, "timestamp": at(9), "windowSeconds": null, "value": "2"},
    ]});
    let read = custom.read(&body, &Requests::default());
    let values = read_values(&read);
    let seconds: Vec<_> = values.iter().map(|value| value.window.as_secs()).collect();
    assert_eq!((seconds, values[0].at), (vec![60, 0], at(9)));
    assert_eq!(found(read), Ok(vec![("a".to_owned(), 1.5), ("b".to_owned(), 2.0)]));
    let queue = external("{type: Value, value: 1}");
    let body = json!({"items": [{"metricName": "queue", "timestamp": at(9), "value": "3k"}]});
    assert_eq!(
        found(queue.read(&body, &Requests::default())),
        Ok(vec![(String::new(), 3000.0)])
    );
}

#[test]
fn an_answer_without_a_list_is_none() {
    for body in [json!({}), json!("text"), json!({"items": {}})] {
        let answer = cpu().read(&body, &Requests::default());
        assert!(matches!(answer, MetricAnswer::Unanswered(_)), "{body}: {answer:?}");
    }
}

#[test]
fn a_value_that_cannot_be_read_is_an_error_of_its_own() {
    let with = |field: &str, value: Value| {
        let mut usage = usage("a", &[("main", "1")]);
        usage[field] = value;
        usage
    };
    for item in [
        usage("a", &[("main", "much")]),
        usage("a", &[("main", "-1")]),
        json!({"metadata": {"name": "a"}}),
        with("timestamp", Value::Null),
        with("window", Value::Null),
        with("window", json!("-5s")),
        with("window", json!("1e9999s")),
    ] {
        let body = json!({"items": [item, usage("b", &[("main", "1")])]});
        let MetricAnswer::Values(values) = cpu().read(&body, &Requests::default()) else {
            panic!("there are values")
        };
        let [Err(flaw), Ok(other)] = values.as_slice() else {
            panic!("{body}: {values:?}")
        };
        assert_eq!((flaw.object.as_str(), flaw.outcome), ("a", Outcome::Error), "{body}");
        assert_eq!((other.object.as_str(), other.value), ("b", 1.0));
    }
    let queue = external("{type: Value, value: 1}");
    for item in [
        json!({"timestamp": at(9), "value": "NaN"}),
        json!({"timestamp": at(9), "value": "1", "window": -1}),
        json!({"timestamp": at(9), "value": "1", "window": "60s"}),
        json!({"value": "1"}),
    ] {
        let why = found(queue.read(&json!({"items": [item]}), &Requests::default())).unwrap_err();
        assert_eq!(why, "the answer has a value that can't be read", "{item}");
    }
}
