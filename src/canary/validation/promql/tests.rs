mod judging;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{PromQl, Vars};
use crate::{
    api::{OnNoData, PromQlItem},
    canary::validation::{
        Answer, Outcome,
        Outcome::{Error, Fail, NoData, Pass},
        Sample, Series,
    },
};

const PODS: [&str; 2] = ["can-1", "can-2"];

fn parse(yaml: &str) -> Result<PromQl, String> {
    let item: PromQlItem = serde_yaml_ng::from_str(yaml).unwrap();
    PromQl::parse(&item, Duration::from_secs(20))
}

/// An item with what is not under test filled in.
fn with_the_rest(yaml: &str) -> String {
    format!("prometheusService: prom:9090\nquery: up\n{yaml}")
}

fn item(yaml: &str) -> PromQl {
    parse(&with_the_rest(yaml)).unwrap()
}

/// Series as `labels value`, like `pod=can-1,code=200 3`.
fn vector(lines: &[&str]) -> Answer {
    Answer::Vector(
        lines
            .iter()
            .map(|line| {
                let (labels, value) = line.rsplit_once(' ').unwrap();
                let labels: BTreeMap<_, _> = labels
                    .split(',')
                    .filter_map(|label| label.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                Series {
                    labels,
                    value: value.parse().unwrap(),
                }
            })
            .collect(),
    )
}

fn shown(sample: &Sample) -> (Outcome, &str) {
    (sample.outcome, &sample.message)
}

fn check(item: &PromQl, table: &[(&[&str], Outcome, &str)]) {
    for (lines, outcome, message) in table {
        let sample = item.judge(&vector(lines), &PODS);
        assert_eq!(shown(&sample), (*outcome, *message), "{lines:?}");
    }
}

#[test]
fn the_published_example_is_read_as_its_users_know_it() {
    let yaml = r#"
      allPodsQuery: true
      podNamekey: pod
      prometheusService: prometheus.istio-system:9090
      query: histogram_quantile(0.99, sum(rate(istio_request_duration_seconds_bucket{reporter="destination",destination_workload="myapp-kanary-batman"}[1m]))
        by (le))
      valueInRange:
        max: 0.31
        min: 0
    "#;
    let item = parse(yaml).unwrap();
    assert_eq!(item.endpoint.url, "http://prometheus.istio-system:9090");
    assert_eq!(item.endpoint.auth, None);
    assert_eq!((item.failure_limit, item.error_limit, item.min_samples), (0, 4, 1));
    assert_eq!(
        (item.interval, item.on_no_data),
        (Duration::from_secs(20), OnNoData::Hold)
    );
    assert!(!item.needs_pods() && !item.needs_service());
    let vars = Vars {
        deployment: "",
        canary: "",
        service: "",
        namespace: "",
        kanary: "",
        pods: &[],
    };
    assert!(
        item.render(&vars)
            .ends_with(r#"{reporter="destination",destination_workload="myapp-kanary-batman"}[1m])) by (le))"#)
    );
    check(
        &item,
        &[
            (&[" 0.31"], Pass, "0.31 within [0, 0.31]"),
            (&[" 0.47"], Fail, "0.47 outside [0, 0.31]"),
            (&[" NaN"], NoData, "only NaN or Inf, which is no measurement"),
            (&[], NoData, "no series"),
        ],
    );
    let sample = item.judge(&Answer::Scalar(0.47), &PODS);
    assert_eq!(
        (shown(&sample), sample.value),
        ((Fail, "0.47 outside [0, 0.31]"), Some(0.47))
    );
}

#[test]
fn an_interval_is_never_longer_than_the_longest_allowed() {
    for (yaml, seconds) in [("", 20), ("interval: 5s", 5), ("interval: 1m", 20)] {
        assert_eq!(
            item(&format!("boolean: {{}}\n{yaml}")).interval,
            Duration::from_secs(seconds),
            "{yaml}"
        );
    }
}

#[test]
fn pods_are_needed_unless_the_query_stands_for_all_and_names_none() {
    for (yaml, needed) in [
        ("query: up", true),
        ("{query: up, allPodsQuery: true}", false),
        (r#"{query: 'up{pod=~"{{ pods }}"}', allPodsQuery: true}"#, true),
    ] {
        let mut item: PromQlItem = serde_yaml_ng::from_str(yaml).unwrap();
        item.prometheus_service = Some("prom".to_owned());
        item.boolean = Some(crate::api::Boolean {});
        assert_eq!(
            PromQl::parse(&item, Duration::from_secs(1)).unwrap().needs_pods(),
            needed,
            "{yaml}"
        );
    }
    assert!(
        parse("{prometheusService: p, query: 'up{s=\"{{service.name}}\"}', boolean: {}}")
            .unwrap()
            .needs_service()
    );
}

#[test]
fn what_is_wrong_in_an_item_is_refused_with_its_field_and_a_remedy() {
    for (yaml, message) in [
        ("", "no criterion: write exactly one of"),
        ("boolean: {}\nnoResult: {}", "several criteria: write exactly one of"),
        (
            "valueInRange: {min: 2}",
            "valueInRange.min 2 is greater than max 1: lower min or raise max",
        ),
        ("valueInRange: {min: .nan}", "valueInRange.min NaN"),
        (
            "discreteValueOutOfList: {key: code}",
            "neither of goodValues and badValues",
        ),
        (
            "discreteValueOutOfList: {key: code, goodValues: []}",
            "neither of goodValues and badValues",
        ),
        (
            "discreteValueOutOfList: {key: code, goodValues: [a], badValues: [b]}",
            "both of goodValues and badValues",
        ),
        (
            "discreteValueOutOfList: {key: '', goodValues: [a]}",
            "discreteValueOutOfList.key is empty",
        ),
        (
            "discreteValueOutOfList: {key: c, goodValues: [a], tolerance: 101}",
            "tolerance 101 is above 100",
        ),
        (
            "continuousValueDeviation: {maxDeviationPercent: -1}",
            "maxDeviationPercent -1",
        ),
        (
            "continuousValueDeviation: {maxDeviationPercent: .nan}",
            "maxDeviationPercent NaN",
        ),
        ("boolean: {}\ninterval: 10ms", "interval is shorter than 100ms"),
        ("boolean: {}\nminSamples: 0", "minSamples is 0: raise it"),
        (
            "boolean: {}\nconsecutiveErrorLimit: 0",
            "consecutiveErrorLimit is 0: raise it",
        ),
    ] {
        let error = parse(&with_the_rest(yaml)).expect_err(yaml);
        assert!(error.contains(message), "{yaml}: {error}");
    }
}

const CRITERIA: [&str; 6] = [
    "valueInRange: {min: -1000000, max: 1000000}",
    "discreteValueOutOfList: {key: code, goodValues: ['200'], tolerance: 100}",
    "continuousValueDeviation: {maxDeviationPercent: 100000}",
    "continuousValueDeviation: {maxDeviationPercent: 100000, of: value}",
    "boolean: {}",
    "noResult: {}",
];

fn answers() -> impl Strategy<Value = Answer> {
    let value = || prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(0.0), Just(1.0)];
    let labels = prop::collection::btree_map("pod|code", "can-1|can-2|stable-1|200|500", 0..3);
    let series = (labels, value()).prop_map(|(labels, value)| Series { labels, value });
    prop_oneof![
        value().prop_map(Answer::Scalar),
        prop::collection::vec(series, 0..6).prop_map(Answer::Vector),
        Just(Answer::Unanswered("down".to_owned())),
        Just(Answer::Rejected("parse error".to_owned())),
    ]
}

fn has_a_number(answer: &Answer) -> bool {
    match answer {
        Answer::Scalar(value) => value.is_finite(),
        Answer::Vector(all) => all.iter().any(|series| series.value.is_finite()),
        Answer::Unanswered(_) | Answer::Rejected(_) => false,
    }
}

/// Whether no series is one of the ready pods: they are neither proof nor failure.
fn is_about_others(answer: &Answer, ready: usize) -> bool {
    let Answer::Vector(all) = answer else { return false };
    let others = |pod: &String| !PODS[..ready].contains(&pod.as_str());
    all.iter().all(|series| series.labels.get("pod").is_none_or(others))
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_passes_without_a_finite_number(
        answer in answers(),
        ready in 0..3_usize,
        criterion in 0..CRITERIA.len(),
        all_pods in any::<bool>(),
    ) {
        let item = item(&format!("{}\nallPodsQuery: {all_pods}", CRITERIA[criterion]));
        let sample = item.judge(&answer, &PODS[..ready]);
        if sample.outcome == Pass {
            prop_assert!(ready > 0);
            prop_assert!(has_a_number(&answer) || (item.criterion.is_about_presence() && is_about_others(&answer, ready)));
        }
        prop_assert!(sample.value.is_none_or(f64::is_finite));
        prop_assert!(!sample.message.is_empty());
    }
}
