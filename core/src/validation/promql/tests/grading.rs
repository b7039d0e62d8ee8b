//! Deviations, shares and booleans.

use super::{Error, Fail, NoData, Pass, check, item, judged, vector};

#[test]
fn a_ratio_deviates_from_one() {
    let item = item("continuousValueDeviation: {maxDeviationPercent: 10}\nallPodsQuery: true");
    check(
        &item,
        &[
            (&[" 1"], Pass, "1 times the mean: 0 % off, within 10 %"),
            (&[" 1.1"], Pass, "1.1 times the mean: 10 % off, within 10 %"),
            (&[" 0.9"], Pass, "0.9 times the mean: 10 % off, within 10 %"),
            (&[" 1.101"], Fail, "1.101 times the mean: 10.1 % off, above 10 %"),
            (
                &["pod=can-1 1.7", "pod=can-2 0"],
                Fail,
                "0 times the mean: 100 % off, above 10 % on pod can-2",
            ),
            (
                &["pod=can-1 1", "pod=can-2 -Inf"],
                NoData,
                "-Inf is no measurement on pod can-2",
            ),
            (
                &["pod=can-1 1", "pod=can-2 NaN"],
                NoData,
                "NaN is no measurement on pod can-2",
            ),
            (
                &["pod=can-1 1.7", "pod=can-2 +Inf"],
                Fail,
                "1.7 times the mean: 70 % off, above 10 % on pod can-1",
            ),
        ],
    );
    assert_eq!(judged(&item, &["pod=can-1 1.7"]).value, Some(1.7));
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn a_value_deviates_from_the_mean_over_the_whole_result() {
    let yaml = "continuousValueDeviation: {maxDeviationPercent: 10, of: value}";
    let one = |lines: &[&str]| {
        let sample = item(yaml).judge(&vector(lines), None, &["can-1"]);
        (sample.outcome, sample.message)
    };
    for (lines, outcome, message) in [
        (
            &["pod=stable-1 100", "pod=can-1 100", "pod=stable-2 NaN"][..],
            Pass,
            "1 times the mean: 0 % off, within 10 % on pod can-1",
        ),
        (
            &["pod=stable-1 50", "pod=can-1 150"],
            Fail,
            "1.5 times the mean: 50 % off, above 10 % on pod can-1",
        ),
        (
            &["pod=stable-1 0", "pod=can-1 0"],
            Pass,
            "1 times the mean: 0 % off, within 10 % on pod can-1",
        ),
        (
            &["pod=stable-1 0", "pod=can-1 5"],
            Fail,
            "2 times the mean: 100 % off, above 10 % on pod can-1",
        ),
        (
            &["pod=stable-1 -1", "pod=can-1 1"],
            Error,
            "the mean is 0, made of values of opposite signs, so the deviation from it is undefined: write a query whose \
             values are not negative",
        ),
        // 0.1 + 0.2 is not 0.3.
        (
            &["pod=stable-1 0.1", "pod=stable-2 0.2", "pod=can-1 -0.3"],
            Error,
            "the mean is 0, made of values of opposite signs, so the deviation from it is undefined: write a query whose \
             values are not negative",
        ),
        (&["pod=can-1 1"], NoData, "a single series, which is its own mean"),
        (
            &["pod=can-1 1", "pod=stable-1 NaN"],
            NoData,
            "a single series, which is its own mean",
        ),
        (
            &["pod=can-1 1", "pod=stable-1 +Inf"],
            NoData,
            "Inf in the result, beside which there is no mean",
        ),
        (
            &["pod=can-1 NaN", "pod=stable-1 0", "pod=stable-2 0"],
            NoData,
            "NaN is no measurement on pod can-1",
        ),
        (
            &["pod=stable-1 1.7e308", "pod=can-1 1.7e308"],
            Pass,
            "1 times the mean: 0 % off, within 10 % on pod can-1",
        ),
    ] {
        assert_eq!(one(lines), (outcome, message.to_owned()), "{lines:?}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn the_share_of_bad_counts_is_judged_per_pod() {
    let yaml = "discreteValueOutOfList: {key: code, goodValues: ['200', '204'], tolerance: 7}";
    let item = item(yaml);
    let one = |lines: &[&str]| {
        let sample = item.judge(&vector(lines), None, &["can-1"]);
        (sample.outcome, sample.message)
    };
    for (lines, outcome, message) in [
        (
            ["pod=can-1,code=200 93", "pod=can-1,code=500 7"],
            Pass,
            "7 % bad, within 7 % on pod can-1",
        ),
        (
            ["pod=can-1,code=200 92", "pod=can-1,code=500 8"],
            Fail,
            "8 % bad, above 7 % on pod can-1",
        ),
        (
            ["pod=can-1,code=200 0", "pod=can-1,code=500 0"],
            NoData,
            "counts that add up to 0, which is no measurement on pod can-1",
        ),
        (
            ["pod=can-1,code=200 1.7e308", "pod=can-1,code=204 1.7e308"],
            NoData,
            "counts that add up to +Inf, which is no measurement on pod can-1",
        ),
        (
            ["pod=can-1,code=200 NaN", "pod=can-1,code=500 9"],
            NoData,
            "counts that add up to NaN, which is no measurement on pod can-1",
        ),
        (
            ["pod=can-1,code=200 9", "pod=can-1,code=500 NaN"],
            NoData,
            "counts that add up to NaN, which is no measurement on pod can-1",
        ),
    ] {
        assert_eq!(one(&lines), (outcome, message.to_owned()), "{lines:?}");
    }
    check(
        &item,
        &[
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
                &["pod=can-1,code=200 5", "pod=can-2,code=204 1"],
                Pass,
                "0 % bad, within 7 % on pod can-1",
            ),
            // A pod without traffic next to a busy one.
            (
                &["pod=can-1,code=200 0", "pod=can-2,code=204 1"],
                NoData,
                "counts that add up to 0, which is no measurement on pod can-1",
            ),
            (
                &["pod=can-2,code=204 1"],
                NoData,
                "no series of pod can-1, and every ready pod needs one",
            ),
            (
                &["pod=can-1,code=200 5", "pod=can-2,code=500 -1"],
                Error,
                "-1 is negative, so it is no count on pod can-2 {code=\"500\"}",
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
            (&["pod=can-1 1", "pod=can-2 1"], Pass, "1, which is good on pod can-1"),
            (&["pod=can-1 1", "pod=can-2 0"], Fail, "0, which is bad on pod can-2"),
            (
                &["pod=can-1 1", "pod=can-2 3"],
                Error,
                "3 is neither 1 (good) nor 0 (bad) on pod can-2",
            ),
            (
                &["pod=can-1 1", "pod=can-2 +Inf"],
                Error,
                "+Inf is neither 1 (good) nor 0 (bad) on pod can-2",
            ),
            (
                &["pod=can-1 1", "pod=can-2 NaN"],
                NoData,
                "NaN is no measurement on pod can-2",
            ),
            (&["pod=can-1 0", "pod=can-2 3"], Fail, "0, which is bad on pod can-1"),
        ],
    );
}
