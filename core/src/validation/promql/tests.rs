mod absence;
mod grading;
mod judging;
mod proof;
mod recipes;
mod refused;
mod syntax;
mod turned;
mod undefined;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{PromQl, Vars};
use crate::{
    api::{OnNoData, PromQlItem},
    validation::{
        Answer,
        Outcome::{self, Error, Fail, NoData, Pass},
        Sample, Series,
    },
};

const PODS: [&str; 2] = ["can-1", "can-2"];

fn parse(yaml: &str) -> Result<PromQl, String> {
    let item: PromQlItem = serde_yaml_ng::from_str(yaml).unwrap();
    PromQl::parse(&item, Duration::from_secs(20))
}

/// An item with defaults for everything that is not under test.
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

/// An answer with these lines, evaluated for two ready pods. If evidence is needed, Prometheus has data of both.
fn judged(item: &PromQl, lines: &[&str]) -> Sample {
    item.judge(&vector(lines), Some(&known()), &PODS)
}

/// Evidence that Prometheus has data of the pods.
fn known() -> Answer {
    vector(&["pod=can-1 7", "pod=can-2 7"])
}

fn shown(sample: &Sample) -> (Outcome, &str) {
    (sample.outcome, &sample.message)
}

fn check(item: &PromQl, table: &[(&[&str], Outcome, &str)]) {
    for (lines, outcome, message) in table {
        let sample = judged(item, lines);
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
    assert_eq!(
        (item.terms.failure_limit, item.terms.error_limit, item.terms.min_samples),
        (0, 4, 1)
    );
    assert_eq!(
        (item.terms.interval, item.terms.on_no_data),
        (Duration::from_secs(20), OnNoData::Hold)
    );
    assert!(!item.needs_service());
    let vars = Vars {
        deployment: "",
        canary: "",
        service: "",
        namespace: "",
        kanary: "",
        weight: "",
        pods: &[],
        all_pods: &[],
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
            (&[" NaN"], NoData, "NaN is no measurement"),
            (&[" +Inf"], Fail, "+Inf outside [0, 0.31]"),
            (&[], NoData, "no series"),
        ],
    );
    let sample = item.judge(&Answer::Scalar(0.47), None, &PODS);
    assert_eq!(
        (shown(&sample), sample.value),
        ((Fail, "0.47 outside [0, 0.31]"), Some(0.47))
    );
}

#[test]
fn an_interval_is_never_longer_than_the_longest_allowed() {
    for (yaml, seconds) in [("", 20), ("interval: 5s", 5), ("interval: 1m", 20)] {
        assert_eq!(
            item(&format!("boolean: {{}}\n{yaml}")).terms.interval,
            Duration::from_secs(seconds),
            "{yaml}"
        );
    }
}

#[test]
fn a_query_about_the_service_needs_one() {
    for yaml in [
        "{prometheusService: p, query: 'up{s=\"{{service.name}}\"}', boolean: {}}",
        "{prometheusService: p, query: up, noResult: {}, evidenceQuery: 'up{s=\"{{service.name}}\"}'}",
    ] {
        assert!(parse(yaml).unwrap().needs_service(), "{yaml}");
    }
}

#[test]
fn an_item_is_what_it_asks_and_not_how_much_it_tolerates() {
    let first = item("valueInRange: {max: 1}");
    for same in [
        "valueInRange: {min: 0}\nfailureLimit: 3",
        "valueInRange: {}\ninterval: 1s\nminSamples: 2",
        "valueInRange: {}\nonNoData: fail\nconsecutiveErrorLimit: 9\npodNamekey: pod\nallPodsQuery: false",
        "valueInRange: {}\nprometheusAuth: {basicAuthSecret: a}",
    ] {
        assert_eq!(item(same).terms.id, first.terms.id, "{same}");
    }
    let ids: std::collections::BTreeSet<_> = [
        "valueInRange: {}",
        "valueInRange: {max: 2}",
        "valueInRange: {}\npodNamekey: p",
        "valueInRange: {}\nallPodsQuery: true",
        "valueInRange: {}\nprometheusAuth: {headers: [{name: X-Scope-OrgID, value: a}]}",
        "continuousValueDeviation: {maxDeviationPercent: 1}",
        "continuousValueDeviation: {maxDeviationPercent: 1, of: value}",
        "discreteValueOutOfList: {key: code, goodValues: ['200']}",
        "discreteValueOutOfList: {key: code, badValues: ['200']}",
        "boolean: {}",
        "noResult: {}",
        "noResult: {}\nevidenceQuery: up",
    ]
    .into_iter()
    .map(|yaml| item(yaml).terms.id)
    .collect();
    assert_eq!(ids.len(), 12);
    let other = |yaml| parse(yaml).unwrap().terms.id;
    assert_ne!(
        other("{prometheusService: 'q:9090', query: up, valueInRange: {}}"),
        first.terms.id
    );
    assert_ne!(
        other("{prometheusService: 'prom:9090', query: down, valueInRange: {}}"),
        first.terms.id
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
            "discreteValueOutOfList: {key: c, goodValues: [a], tolerance: 100}",
            "tolerance 100 tolerates any share of bad counts (in percent), so the item could not fail: lower it to 99 or less",
        ),
        (
            "discreteValueOutOfList: {key: c, goodValues: [a], tolerance: 101}",
            "lower it to 99 or less",
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
        ("boolean: {}\nevidenceQuery: up", "evidenceQuery is for noResult only"),
        (
            "noResult: {}\nevidenceQuery: 'up{pod=\"{{ pods }}\"}'",
            "evidenceQuery has {{ pods }} behind `=`",
        ),
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
    "discreteValueOutOfList: {key: code, goodValues: ['200'], tolerance: 99}",
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

/// Whether each ready pod has a number and no other value, as required for an answer that passes.
fn every_pod_has_a_number(all: &[Series], ready: usize) -> bool {
    PODS[..ready].iter().all(|pod| {
        let mut of_pod = all
            .iter()
            .filter(|series| series.labels.get("pod").is_some_and(|name| name == pod))
            .peekable();
        of_pod.peek().is_some() && of_pod.all(|series| series.value.is_finite())
    })
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_passes_without_finite_numbers_for_all(
        answer in answers(),
        evidence in prop::option::of(answers()),
        ready in 0..3_usize,
        criterion in 0..CRITERIA.len(),
        all_pods in any::<bool>(),
    ) {
        let item = item(&format!("{}\nallPodsQuery: {all_pods}", CRITERIA[criterion]));
        let sample = item.judge(&answer, evidence.as_ref(), &PODS[..ready]);
        if sample.outcome == Pass {
            prop_assert!(ready > 0);
            match (&answer, &evidence) {
                (Answer::Vector(all), Some(Answer::Vector(evidence))) if item.criterion.is_about_presence() => {
                    prop_assert!(all.is_empty() && every_pod_has_a_number(evidence, ready));
                }
                (Answer::Vector(all), _) if all_pods => {
                    prop_assert!(!all.is_empty() && all.iter().all(|series| series.value.is_finite()));
                }
                (Answer::Vector(all), _) => prop_assert!(every_pod_has_a_number(all, ready)),
                (Answer::Scalar(value), _) => prop_assert!(all_pods && value.is_finite()),
                _ => prop_assert!(false, "no answer passes"),
            }
        }
        prop_assert!(sample.value.is_none_or(f64::is_finite));
        prop_assert!(!sample.message.is_empty());
    }
}
