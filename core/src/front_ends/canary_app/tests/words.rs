//! Messages about measurements, in the words of an application.

use super::*;
use crate::validation::{Answer, Item, Series};

/// What Prometheus can say of the pods, if it says anything.
fn evidence() -> Vec<Option<Answer>> {
    let named = |labels: &Value| Series {
        labels: serde_json::from_value(labels.clone()).unwrap(),
        value: 1.0,
    };
    let named = [
        json!({"pod": "exporter", "exported_pod": "hello-secondary-1"}),
        json!({"instance": "hello-secondary-1"}),
        json!({"pod": "other"}),
    ]
    .map(|labels| Answer::Vector(vec![named(&labels)]));
    let others = [
        Answer::Vector(Vec::new()),
        Answer::Rejected("no".to_owned()),
        Answer::Scalar(1.0),
    ];
    let all = named.into_iter().chain(others);
    all.map(Some).chain([None]).collect()
}

#[test]
fn no_measurement_names_a_field_that_an_application_does_not_have() {
    let mut said = Vec::new();
    for query in [
        "x{pod=~\"{{ pods }}\"} > 2",
        "x{pod=~\"{{ pods }}\"} / y > 2",
        "x > 2 and y > 1",
        "label_replace(x, \"a\", \"b\", \"\", \"\") * (y > 2) ^ z or vector(0)",
        "rate(x[5s]) > 2",
        "x[1h] offset 1h",
        "vector(1) > 2",
        "x > bool 2",
        "x > 2 < 1",
        "{{ pod }}",
    ] {
        let app = parsed(with(&json!({"prometheusQuery": query})), None);
        said.extend(app.spec.problems.iter().map(|problem| problem.message.clone()));
        let Some(Item::PromQl(item)) = app.spec.validation.items.first() else {
            continue;
        };
        said.extend(item.hints(std::time::Duration::ZERO));
        for evidence in evidence() {
            let none = Answer::Vector(Vec::new());
            said.push(item.judge(&none, evidence.as_ref(), &["hello-secondary-1"]).message);
        }
    }
    assert!(said.len() > 30, "{said:#?}");
    for message in said {
        let told = crate::front_ends::in_words(&CanaryApp, message);
        let foreign = [
            "podNamekey",
            "evidenceQuery",
            "allPods",
            "noResult",
            "onNoData",
            "valueInRange",
            "initialDelay",
            "set interval",
            "maxIntervalPeriod",
            "spec.validation",
            "spec.traffic",
        ];
        assert!(!foreign.iter().any(|field| told.contains(field)), "{told}");
    }
}
