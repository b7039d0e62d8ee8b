use super::{Answer, Error, Fail, NoData, PODS, Pass, check, item, shown, vector};

#[test]
fn a_range_includes_its_bounds() {
    check(
        &item("valueInRange: {}"),
        &[
            (&["pod=can-1 0"], Pass, "0 within [0, 1] on pod can-1"),
            (&["pod=can-1 1"], Pass, "1 within [0, 1] on pod can-1"),
            (&["pod=can-1 -0.1"], Fail, "-0.1 outside [0, 1] on pod can-1"),
            (&["pod=can-1 1.5", "pod=can-2 3"], Fail, "3 outside [0, 1] on pod can-2"),
            (
                &["pod=can-1 0.5", "pod=can-2 NaN"],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
            (
                &["pod=can-1 0.5", "pod=can-2 +Inf"],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
            (
                &["pod=can-1 +Inf", "pod=can-2 NaN"],
                NoData,
                "only NaN or Inf, which is no measurement",
            ),
        ],
    );
}

#[test]
fn only_series_of_ready_canary_pods_count() {
    let item = item("valueInRange: {}\npodNamekey: instance");
    check(
        &item,
        &[
            (
                &["instance=stable-1 7", "instance=can-1 0.5"],
                Pass,
                "0.5 within [0, 1] on pod can-1",
            ),
            (&["instance=stable-1 7"], NoData, "no series of a ready canary pod"),
            (&["instance= 7"], NoData, "no series of a ready canary pod"),
            (&[], NoData, "no series of a ready canary pod"),
            (&[" 7", "instance=can-2 0.5"], Pass, "0.5 within [0, 1] on pod can-2"),
        ],
    );
    let sample = item.judge(&vector(&["pod=can-1 0.5"]), &PODS);
    assert_eq!(sample.outcome, Error);
    assert!(
        sample.message.contains("label `instance`") && sample.message.contains("podNamekey"),
        "{}",
        sample.message
    );
}

#[test]
fn a_query_for_all_pods_judges_every_series() {
    check(
        &item("valueInRange: {}\nallPodsQuery: true"),
        &[
            (&["a=b 0.5", " 0.7"], Pass, "0.7 within [0, 1]"),
            (&["a=b 5", " 0.7"], Fail, "5 outside [0, 1] on {a=\"b\"}"),
        ],
    );
}

#[test]
fn an_unanswered_query_is_an_error_and_no_ready_pod_is_no_data() {
    for yaml in ["valueInRange: {}", "noResult: {}", "noResult: {}\nallPodsQuery: true"] {
        let item = item(yaml);
        let down = Answer::Unanswered("connection refused".to_owned());
        assert_eq!(shown(&item.judge(&down, &[])), (Error, "connection refused"), "{yaml}");
        for answer in [vector(&["pod=can-1 0.5"]), vector(&[]), Answer::Scalar(0.5)] {
            assert_eq!(
                shown(&item.judge(&answer, &[])),
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
        let sample = item(yaml).judge(&Answer::Scalar(1.0), &PODS);
        assert_eq!(sample.outcome, Error, "{yaml}");
        assert!(sample.message.contains(message), "{yaml}: {}", sample.message);
    }
    assert_eq!(
        item("boolean: {}\nallPodsQuery: true")
            .judge(&Answer::Scalar(1.0), &PODS)
            .outcome,
        Pass
    );
}

#[test]
fn a_ratio_deviates_from_one() {
    let item = item("continuousValueDeviation: {maxDeviationPercent: 10}");
    check(
        &item,
        &[
            (
                &["pod=can-1 1"],
                Pass,
                "1 times the mean: 0 % off, within 10 % on pod can-1",
            ),
            (
                &["pod=can-1 1.1"],
                Pass,
                "1.1 times the mean: 10 % off, within 10 % on pod can-1",
            ),
            (
                &["pod=can-1 0.9"],
                Pass,
                "0.9 times the mean: 10 % off, within 10 % on pod can-1",
            ),
            (
                &["pod=can-1 1.101"],
                Fail,
                "1.101 times the mean: 10.1 % off, above 10 % on pod can-1",
            ),
            (
                &["pod=can-1 1.7", "pod=can-2 0"],
                Fail,
                "0 times the mean: 100 % off, above 10 % on pod can-2",
            ),
        ],
    );
    assert_eq!(item.judge(&vector(&["pod=can-1 1.7"]), &PODS).value, Some(1.7));
}

#[test]
fn a_value_deviates_from_the_mean_over_the_whole_result() {
    check(
        &item("continuousValueDeviation: {maxDeviationPercent: 10, of: value}"),
        &[
            (
                &["pod=stable-1 100", "pod=can-1 100", "pod=stable-2 NaN"],
                Pass,
                "1 times the mean: 0 % off, within 10 % on pod can-1",
            ),
            (
                &["pod=stable-1 50", "pod=can-1 150"],
                Fail,
                "1.5 times the mean: 50 % off, above 10 % on pod can-1",
            ),
            (
                &["pod=stable-1 -1", "pod=can-1 1"],
                NoData,
                "the mean is 0, so nothing deviates from it",
            ),
            (&["pod=can-1 1"], NoData, "a single series, which is its own mean"),
            (
                &["pod=stable-1 1.7e308", "pod=can-1 1.7e308"],
                Pass,
                "1 times the mean: 0 % off, within 10 % on pod can-1",
            ),
        ],
    );
}

#[test]
fn the_share_of_bad_counts_is_judged_per_pod() {
    check(
        &item("discreteValueOutOfList: {key: code, goodValues: ['200', '204'], tolerance: 7}"),
        &[
            (
                &["pod=can-1,code=200 93", "pod=can-1,code=500 7"],
                Pass,
                "7 % bad, within 7 % on pod can-1",
            ),
            (
                &["pod=can-1,code=200 92", "pod=can-1,code=500 8"],
                Fail,
                "8 % bad, above 7 % on pod can-1",
            ),
            (
                &[
                    "pod=can-1,code=200 999",
                    "pod=can-2,code=404 1",
                    "pod=stable-1,code=500 9",
                ],
                Fail,
                "100 % bad, above 7 % on pod can-2",
            ),
            (
                &["pod=can-1,code=200 0", "pod=can-2,code=204 1"],
                Pass,
                "0 % bad, within 7 % on pod can-2",
            ),
            (
                &["pod=can-1,code=200 0", "pod=can-1,code=500 0"],
                NoData,
                "counts that add up to 0, which is no measurement on pod can-1",
            ),
            (
                &["pod=can-1,code=200 1.7e308", "pod=can-1,code=204 1.7e308"],
                NoData,
                "counts that add up to +Inf, which is no measurement on pod can-1",
            ),
            (
                &["pod=can-1,code=200 5", "pod=can-2,code=500 -1"],
                Error,
                "-1 is negative, so it is no count on pod can-2",
            ),
            (
                &["pod=can-1,code=200 5", "pod=can-2 3"],
                Error,
                "a series without the label `code`: keep it in the query on pod can-2",
            ),
            (
                &["pod=can-1,code=500 5", "pod=can-2 3"],
                Fail,
                "100 % bad, above 7 % on pod can-1",
            ),
        ],
    );
}

#[test]
fn the_share_of_bad_counts_is_judged_over_all_when_the_query_stands_for_all() {
    check(
        &item("discreteValueOutOfList: {key: code, badValues: ['500']}\nallPodsQuery: true"),
        &[
            (&["code=200 5", "code=404 5"], Pass, "0 % bad, within 0 %"),
            (&["code=200 3", "code=500 1"], Fail, "25 % bad, above 0 %"),
        ],
    );
}

#[test]
fn one_is_true_and_zero_is_false() {
    check(
        &item("boolean: {}"),
        &[
            (&["pod=can-1 1"], Pass, "1, which is good on pod can-1"),
            (&["pod=can-1 1", "pod=can-2 0"], Fail, "0, which is bad on pod can-2"),
            (
                &["pod=can-1 1", "pod=can-2 3"],
                Error,
                "3 is neither 1 (good) nor 0 (bad) on pod can-2",
            ),
            (&["pod=can-1 0", "pod=can-2 3"], Fail, "0, which is bad on pod can-1"),
        ],
    );
}

#[test]
fn any_series_is_bad_where_none_is_due() {
    check(
        &item("noResult: {}"),
        &[
            (&[], Pass, "no series, which is good"),
            (&["pod=stable-1 1"], Pass, "no series, which is good"),
            (
                &["pod=can-1 NaN"],
                Fail,
                "a series where none is due, the first with NaN on pod can-1",
            ),
            (
                &["pod=can-1 3", "pod=can-2 4"],
                Fail,
                "2 series where none is due, the first with 3 on pod can-1",
            ),
        ],
    );
    check(
        &item("noResult: {}\nallPodsQuery: true"),
        &[(
            &["alertname=HighErrors 1"],
            Fail,
            "a series where none is due, the first with 1 on {alertname=\"HighErrors\"}",
        )],
    );
    assert_eq!(item("noResult: {}").judge(&vector(&["job=x 1"]), &PODS).outcome, Error);
    // An alert without the label, beside one about another pod, must not pass unseen.
    let mixed = vector(&["pod=other 1", "job=x 1"]);
    assert_eq!(item("noResult: {}").judge(&mixed, &PODS).outcome, Error);
}
