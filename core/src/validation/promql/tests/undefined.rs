//! Values that are missing or NaN without traffic.

use super::{
    Fail, NoData, Pass,
    absence::{GOOD, check},
};

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn nan_and_what_is_missing_in_whatever_form_is_no_proof() {
    check(
        "",
        &[
            (
                "job:bad:ratio{*} NaN",
                "job:bad:ratio > 0.1",
                NoData,
                "`job:bad:ratio` is NaN for pods can-1, can-2",
            ),
            ("job:bad:ratio{*} 0", "job:bad:ratio > 0.1", Pass, GOOD),
            (
                "job:bad:ratio{*} NaN",
                "(job:bad:ratio or vector(0)) > 0.1",
                NoData,
                "is NaN",
            ),
            (
                "bad{*} 0; all{*} 0",
                "bad * all ^ -1 > 0.1",
                NoData,
                "what `bad` and `all ^ -1` make is NaN",
            ),
            ("bad{*} 0; all{*} 9", "bad * all ^ -1 > 0.1", Pass, GOOD),
            ("bad{*} 0; all{*} 0", "bad % all > 0.1", NoData, "make is NaN"),
            ("bad{*} 0; all{*} 9", "bad % all > 0.1", Pass, GOOD),
            (
                "bad{*} 0",
                "bad / scalar(none) > 0.1",
                NoData,
                "`scalar(none)` is 0, NaN or missing",
            ),
            (
                "",
                "bad / scalar(none) > 0.1",
                NoData,
                "`scalar(none)` is 0, NaN or missing",
            ),
            ("none{} 9", "bad / scalar(none) > 0.1", Pass, GOOD),
            (
                "bad{*} 0; all{*} 0",
                "(bad / all > bool 0.1) == 1",
                NoData,
                "`all` is 0, NaN or missing",
            ),
            ("bad{*} 0; all{*} 9", "(bad / all > bool 0.1) == 1", Pass, GOOD),
            ("all{*} 9", "(bad / all > bool 0.1) > 0", Pass, GOOD),
            ("all{*} 9", "(ok / all >= bool 0.9) == 0", NoData, "`ok` is missing"),
            ("all{*} 9", "bad / all > 0.1 < 2", Pass, GOOD),
            ("all{*} 0", "bad / all > 0.1 < 2", NoData, "is 0, NaN or missing"),
            (
                "all{*} 9",
                "(bad / all > 0.1) or (late / most > 0.1)",
                NoData,
                "`most` is 0, NaN or missing",
            ),
            (
                "all{*} 9; most{*} 9",
                "(bad / all > 0.1) or (late / most > 0.1)",
                Pass,
                GOOD,
            ),
            (
                "all{*} 0",
                "(bad / all or vector(0)) > 0.1",
                NoData,
                "is 0, NaN or missing",
            ),
            ("all{*} 9", "(bad / all or vector(0)) > 0.1", Pass, GOOD),
            ("all{*} 9", "1 - bad / all < 0.9", NoData, "`1 - bad / all` is missing"),
            ("", "1 - ratio > 0.1", NoData, "`1 - ratio` is missing or NaN"),
            ("", "ratio < 0.9", NoData, "`ratio` is missing or NaN"),
            ("", "count by (pod) (memory == 1) < 2", NoData, "is missing or NaN"),
            (
                "",
                "histogram_quantile(0.9, x) > 5",
                NoData,
                "`histogram_quantile(0.9, x)` is missing or NaN",
            ),
            ("x{*} 1", "x > 5 and on (pod) y > 3", NoData, "`y` is missing or NaN"),
            (
                "y{*} 9; bad{*} 9; all{*} 9",
                "y > 3 and on (pod) bad / all > 0.1",
                Fail,
                "",
            ),
            ("y{*} 9; all{*} 9", "y > 3 and on (pod) bad / all > 0.1", Pass, GOOD),
            ("all{*} 9; bad{*} 0", "max by (pod) (bad / all) > 0.1", Pass, GOOD),
            (
                "all{*} 0; bad{*} 0",
                "max by (pod) (bad / all) > 0.1",
                NoData,
                "is 0, NaN or missing",
            ),
            (
                "all{*} 9; bad{*} 0",
                "label_replace(bad / all, 'a', 'b', '', '') > 0.1",
                Pass,
                GOOD,
            ),
            (
                "all{*} 9",
                "label_replace(bad / all, 'a', 'b', '', '') > 0.1",
                NoData,
                "is missing",
            ),
            (
                "bad{pod=can-1} NaN; bad{pod=can-2} 1",
                "bad > 5 # x\n",
                NoData,
                "for pod can-1, as",
            ),
        ],
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn what_keeps_a_division_from_being_one_by_zero_is_no_traffic() {
    check(
        "",
        &[
            ("all{*} 9", "bad / (all > 0) > 0.1", Pass, GOOD),
            ("all{*} 0", "bad / (all > 0) > 0.1", NoData, "is 0, NaN or missing"),
            (
                "bad{*,path=a} 0; bad{*,path=b} 0; all{*,path=a} 0; all{*,path=b} 9",
                "bad / (all > 0) > 0.1",
                Pass,
                GOOD,
            ),
            ("all{*} 9", "bad / clamp_min(all, 1) > 0.1", Pass, GOOD),
            (
                "all{*} 0; bad{*} 0",
                "bad / clamp_min(all, 1) > 0.1",
                NoData,
                "`all` is 0, NaN or missing",
            ),
            (
                "all{*} 0; bad{*} 0",
                "bad / (all + 1) > 0.1",
                NoData,
                "`all` is 0, NaN or missing",
            ),
            ("all{*} 9; bad{*} 0", "bad / (1 + all) > 0.1", Pass, GOOD),
            ("all{*} 9", "bad / all / clamp_min(all, 1) > 0.1", NoData, "is missing"),
        ],
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn a_range_that_is_too_short_for_two_samples_is_no_proof() {
    check(
        "",
        &[
            (
                "bad{*} 5",
                "rate(bad[1ms]) > 0.1",
                NoData,
                "`rate(bad[1ms])` is missing for pods can-1, can-2, and Prometheus has `bad`",
            ),
            (
                "bad{*} 5",
                "100 * sum by (pod) (rate(bad[1ms])) / all > 5",
                NoData,
                "a range has to hold samples (two for a rate)",
            ),
            (
                "bad{*} 5; all{*} 9",
                "100 * sum by (pod) (rate(bad[1ms])) / all > 5",
                NoData,
                "a range has to hold samples (two for a rate)",
            ),
            (
                "bad{*} 5; all{*} 9",
                "sum by (pod) (rate(bad[1ms])) > 0.1 * all",
                NoData,
                "a range has to hold samples (two for a rate)",
            ),
            ("", "rate(bad{pod=~\"{{ pods }}\"}[1ms]) > 0.1", Pass, GOOD),
            ("bad{*} 5", "topk(1, rate(bad[1m])) > 3", Pass, GOOD),
        ],
    );
}

#[test]
fn what_is_asked_for_all_pods_needs_the_same_proof() {
    check(
        ", allPodsQuery: true",
        &[
            (
                "",
                "vector(scalar(sum(none))) > 0.1",
                NoData,
                "`scalar(sum(none))` is missing or NaN",
            ),
            (
                "bad{*} 0",
                "sum(bad) / (sum(all{pod=~\"can.*\"}) or vector(1)) > 0.1",
                NoData,
                "is 0, NaN or missing",
            ),
            ("bad{*} 5", "sum(rate(bad[1m])) > 0.1", Pass, GOOD),
            ("bad{*} 5", "absent_over_time(bad[1m]) > 0", Pass, GOOD),
        ],
    );
}
