//! Messages about measurements, in the words of an application.

use super::*;
use crate::validation::{Answer, Item};

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
        let none = Answer::Vector(Vec::new());
        let refused = Answer::Rejected("no".to_owned());
        for evidence in [None, Some(&none), Some(&refused), Some(&Answer::Scalar(1.0))] {
            said.push(item.judge(&none, evidence, &["hello-secondary-1"]).message);
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
