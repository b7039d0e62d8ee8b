use super::{Answer, Error, Fail, NoData, PODS, Pass, check, item, judged, known, shown, vector};

#[test]
fn a_range_includes_its_bounds() {
    check(
        &item("valueInRange: {}\nallPodsQuery: true"),
        &[
            (&[" 0"], Pass, "0 within [0, 1]"),
            (&[" 1"], Pass, "1 within [0, 1]"),
            (&[" -0.1"], Fail, "-0.1 outside [0, 1]"),
            (&[" +Inf"], Fail, "+Inf outside [0, 1]"),
            (&[" -Inf"], Fail, "-Inf outside [0, 1]"),
        ],
    );
    check(
        &item("valueInRange: {}"),
        &[
            (&["pod=can-1 1.5", "pod=can-2 3"], Fail, "3 outside [0, 1] on pod can-2"),
            (
                &["pod=can-1 0.1", "pod=can-2 0.9"],
                Pass,
                "0.9 within [0, 1] on pod can-2",
            ),
        ],
    );
}

#[test]
fn every_ready_pod_needs_a_finite_value() {
    check(
        &item("valueInRange: {}"),
        &[
            (
                &["pod=can-1 0.5"],
                NoData,
                "no series of pod can-2, and every ready pod needs one",
            ),
            (
                &["pod=can-1 0.5", "pod=can-2 NaN"],
                NoData,
                "NaN is no measurement on pod can-2",
            ),
            (
                &["pod=can-1 0.5", "pod=can-2 +Inf"],
                Fail,
                "+Inf outside [0, 1] on pod can-2",
            ),
            (
                &["pod=can-1 0.5", "pod=can-2,code=200 0.5", "pod=can-2,code=500 NaN"],
                NoData,
                "NaN is no measurement on pod can-2 {code=\"500\"}",
            ),
            // Missing values of other pods do not matter, and one bad pod is enough.
            (
                &["pod=can-1 0.5", "pod=can-2 0.5", "pod=stable-1 NaN"],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
            (&["pod=can-1 7"], Fail, "7 outside [0, 1] on pod can-1"),
            (&["pod=can-1 7", "pod=can-2 NaN"], Fail, "7 outside [0, 1] on pod can-1"),
        ],
    );
    let many = ["a", "b", "c", "d", "e", "can-1"];
    let sample = item("valueInRange: {}").judge(&vector(&["pod=can-1 0.5"]), None, &many);
    assert_eq!(
        shown(&sample),
        (
            NoData,
            "no series of pods a, b, c and 2 more, and every ready pod needs one"
        )
    );
}

#[test]
fn only_series_of_ready_canary_pods_count() {
    let item = item("valueInRange: {}\npodNamekey: instance");
    check(
        &item,
        &[
            (
                &["instance=stable-1 7", "instance=can-1 0.5", "instance=can-2 0.5"],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
            (
                &["instance=stable-1 7"],
                NoData,
                "no series of a ready canary pod: the label `instance` names others, like stable-1",
            ),
            (&[], NoData, "no series of a ready canary pod"),
            (
                &[" 7", "instance=can-1 0.5", "instance=can-2 0.5"],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
            (
                &["pod=can-1 0.5"],
                Error,
                "no series has the label `instance`, and the label `pod` names the canary pod can-1: set podNamekey to pod",
            ),
            (
                &["job=a 0.5"],
                Error,
                "no series has the label `instance`: keep it in the query, set podNamekey to the label that names the pod, \
                 or set allPodsQuery",
            ),
            (
                &["instance=ksm,exported_pod=can-2 7", "instance=can-1 0.5"],
                Error,
                "a series names the canary pod can-2 by the label `exported_pod`, and ksm by `instance`: set podNamekey to \
                 exported_pod, or have Prometheus honor the labels of what it scrapes",
            ),
            // The label of a pod's client is not the pod's name.
            (
                &[
                    "instance=stable-1,caller=can-2 7",
                    "instance=can-1 0.5",
                    "instance=can-2 0.5",
                ],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
        ],
    );
}

#[test]
fn a_series_that_comes_twice_is_no_answer() {
    for yaml in [
        "valueInRange: {}",
        "valueInRange: {}\nallPodsQuery: true",
        "boolean: {}",
    ] {
        let twice = ["pod=can-1 1", "pod=can-2 1", "pod=can-1 0.5"];
        let sample = judged(&item(yaml), &twice);
        assert_eq!(
            shown(&sample),
            (Error, "the answer holds the same series twice on pod can-1"),
            "{yaml}"
        );
    }
}

#[test]
fn a_query_for_all_pods_judges_every_series() {
    check(
        &item("valueInRange: {}\nallPodsQuery: true"),
        &[
            (&["a=b 0.5", " 0.7"], Pass, "0.7 within [0, 1]"),
            (&["a=b 5", " 0.7"], Fail, "5 outside [0, 1] on {a=\"b\"}"),
            (&["a=b 0.5", " NaN"], NoData, "NaN is no measurement"),
            (&["a=b 5", " NaN"], Fail, "5 outside [0, 1] on {a=\"b\"}"),
        ],
    );
}

#[test]
fn a_series_is_named_by_its_pod_first_and_without_labels_that_say_nothing() {
    let series = "__name__=x,aaa=1,container=,node=n,pod=can-1 5";
    let item = |yaml: &str| item(&format!("valueInRange: {{}}\nallPodsQuery: true\n{yaml}"));
    let sample = judged(&item(""), &[series]);
    assert_eq!(sample.message, "5 outside [0, 1] on pod can-1 {aaa=\"1\", node=\"n\"}");
    let sample = judged(&item("podNamekey: node"), &[series]);
    assert_eq!(sample.message, "5 outside [0, 1] on pod n {aaa=\"1\", pod=\"can-1\"}");
    let long = format!("aaa={},pod=can-1 5", "ä".repeat(300));
    let message = judged(&item(""), &[&long]).message;
    assert!(
        message.starts_with("5 outside [0, 1] on pod can-1 {aaa=\"ää"),
        "{message}"
    );
    assert!(message.ends_with("…}") && message.chars().count() < 170, "{message}");
}

#[test]
fn an_unanswered_query_is_an_error_and_no_ready_pod_is_no_data() {
    for yaml in ["valueInRange: {}", "noResult: {}", "noResult: {}\nallPodsQuery: true"] {
        let item = item(yaml);
        let down = Answer::Unanswered("connection refused".to_owned());
        assert_eq!(
            shown(&item.judge(&down, None, &[])),
            (Error, "connection refused"),
            "{yaml}"
        );
        for answer in [vector(&["pod=can-1 0.5"]), vector(&[]), Answer::Scalar(0.5)] {
            assert_eq!(
                shown(&item.judge(&answer, Some(&known()), &[])),
                (NoData, "no ready canary pod"),
                "{yaml}"
            );
        }
    }
}

#[test]
fn a_scalar_is_refused_where_series_are_due() {
    for (yaml, message) in [
        ("valueInRange: {}", "set allPodsQuery"),
        ("noResult: {}\nallPodsQuery: true", "yields a vector"),
        (
            "discreteValueOutOfList: {key: code, goodValues: ['200']}\nallPodsQuery: true",
            "yields a vector",
        ),
        (
            "continuousValueDeviation: {maxDeviationPercent: 9, of: value}\nallPodsQuery: true",
            "yields a vector",
        ),
    ] {
        let sample = item(yaml).judge(&Answer::Scalar(1.0), Some(&known()), &PODS);
        assert_eq!(sample.outcome, Error, "{yaml}");
        assert!(sample.message.contains(message), "{yaml}: {}", sample.message);
    }
    let boolean = item("boolean: {}\nallPodsQuery: true");
    for (value, outcome) in [(1.0, Pass), (0.0, Fail), (f64::NAN, NoData), (f64::INFINITY, Error)] {
        assert_eq!(
            boolean.judge(&Answer::Scalar(value), None, &PODS).outcome,
            outcome,
            "{value}"
        );
    }
}
