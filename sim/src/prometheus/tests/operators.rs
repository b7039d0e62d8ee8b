//! Arithmetic, comparisons and sets.

use super::{Prometheus, ask, check, with};

fn series() -> Prometheus {
    with(&[
        ("bad{pod=\"a\"}", 1.0),
        ("bad{pod=\"b\"}", 3.0),
        ("all{pod=\"a\"}", 4.0),
        ("all{pod=\"c\"}", 8.0),
        ("by_code{pod=\"a\",code=\"200\"}", 6.0),
        ("by_code{pod=\"a\",code=\"500\"}", 2.0),
        ("owner{pod=\"a\",team=\"blue\"}", 1.0),
        ("odd", f64::NAN),
    ])
}

#[test]
fn scalars_are_calculated_with() {
    check(
        &series(),
        &[
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("2 ^ 3 ^ 2", "512"),
            ("-2 ^ 2", "-4"),
            ("7 % 4", "3"),
            ("-7 % 4", "-3"),
            ("1 / 0", "+Inf"),
            ("-1 / 0", "-Inf"),
            ("0 / 0", "NaN"),
            ("0.1 + 0.2", "0.30000000000000004"),
            ("1e21", "1000000000000000000000"),
            ("1e-7", "0.0000001"),
            ("0x10", "16"),
            ("1m", "60"),
            ("Inf", "+Inf"),
            ("1 > bool 2", "0"),
            ("2 >= bool 2", "1"),
            ("NaN == bool NaN", "0"),
            ("NaN != bool NaN", "1"),
        ],
    );
}

#[test]
fn a_scalar_goes_with_every_element_which_is_no_longer_the_metric() {
    check(
        &series(),
        &[
            ("bad * 10", "{pod=a} 10; {pod=b} 30"),
            ("12 / bad", "{pod=a} 12; {pod=b} 4"),
            ("bad - 1", "{pod=a} 0; {pod=b} 2"),
            ("2 ^ bad", "{pod=a} 2; {pod=b} 8"),
            ("-bad", "{pod=a} -1; {pod=b} -3"),
            ("odd + 1", "{} NaN"),
        ],
    );
}

#[test]
fn a_comparison_drops_elements_and_keeps_their_values() {
    check(
        &series(),
        &[
            ("bad > 1", "bad{pod=b} 3"),
            ("bad >= 1", "bad{pod=a} 1; bad{pod=b} 3"),
            ("bad < 1", ""),
            ("bad <= 1", "bad{pod=a} 1"),
            ("bad == 3", "bad{pod=b} 3"),
            ("bad != 3", "bad{pod=a} 1"),
            ("2 > bad", "bad{pod=a} 1"),
            ("odd == odd", ""),
            ("odd != 1", "odd{} NaN"),
        ],
    );
}

#[test]
fn a_comparison_with_bool_yields_0_or_1() {
    check(
        &series(),
        &[
            ("bad > bool 1", "{pod=a} 0; {pod=b} 1"),
            ("2 > bool bad", "{pod=a} 1; {pod=b} 0"),
            ("bad < bool all", "{pod=a} 1"),
        ],
    );
}

#[test]
fn vectors_match_by_all_labels_but_the_name() {
    check(
        &series(),
        &[
            ("bad / all", "{pod=a} 0.25"),
            ("all - bad", "{pod=a} 3"),
            ("all > bad", "all{pod=a} 4"),
            ("bad > all", ""),
            ("bad + nothing", ""),
            ("nothing + bad", ""),
        ],
    );
}

#[test]
fn on_and_ignoring_choose_the_labels_that_match() {
    check(
        &series(),
        &[
            ("by_code{code=\"500\"} / ignoring(code) all", "{pod=a} 0.5"),
            ("by_code{code=\"500\"} / on(pod) all", "{pod=a} 0.5"),
            ("sum(bad) / on() sum(all)", "{} 0.3333333333333333"),
            ("bad{pod=\"a\"} + on() all{pod=\"c\"}", "{} 9"),
            ("by_code{code=\"500\"} < on(pod) all", "{pod=a} 2"),
        ],
    );
}

#[test]
fn group_left_and_group_right_match_many_to_one() {
    check(
        &series(),
        &[
            (
                "by_code / ignoring(code) group_left all",
                "{code=200,pod=a} 1.5; {code=500,pod=a} 0.5",
            ),
            (
                "all / on(pod) group_right by_code",
                "{code=200,pod=a} 0.6666666666666666; {code=500,pod=a} 2",
            ),
            (
                "by_code * on(pod) group_left(team) owner",
                "{code=200,pod=a,team=blue} 6; {code=500,pod=a,team=blue} 2",
            ),
            ("by_code > on(pod) group_left all", "by_code{code=200,pod=a} 6"),
        ],
    );
}

#[test]
fn ambiguous_matches_are_refused() {
    let prometheus = series();
    let error = ask(&prometheus, "all / on(pod) by_code");
    assert_eq!(
        error,
        "execution found duplicate series for the match group {pod=\"a\"} on the right hand-side of the operation: \
         [{__name__=\"by_code\", code=\"500\", pod=\"a\"}, {__name__=\"by_code\", code=\"200\", pod=\"a\"}];\
         many-to-many matching not allowed: matching labels must be unique on one side"
    );
    let error = ask(&prometheus, "by_code / on(pod) all");
    assert!(error.contains("many-to-one matching must be explicit"), "{error}");
    let error = ask(&prometheus, "{__name__=~\"bad|all\"} * on() group_left odd");
    assert!(error.contains("grouping labels must ensure unique matches"), "{error}");
    let error = ask(&prometheus, "{pod=\"a\",__name__=~\"bad|all\"} * 2");
    assert_eq!(error, "execution vector cannot contain metrics with the same labelset");
}

#[test]
fn sets_keep_elements_as_they_are() {
    check(
        &series(),
        &[
            ("bad and all", "bad{pod=a} 1"),
            ("bad unless all", "bad{pod=b} 3"),
            ("bad or all", "bad{pod=a} 1; bad{pod=b} 3; all{pod=c} 8"),
            ("all or bad", "all{pod=a} 4; all{pod=c} 8; bad{pod=b} 3"),
            (
                "by_code and on(pod) bad",
                "by_code{code=200,pod=a} 6; by_code{code=500,pod=a} 2",
            ),
            ("bad unless on(pod) owner", "bad{pod=b} 3"),
            ("bad and ignoring(team) owner", "bad{pod=a} 1"),
            ("nothing or vector(0)", "{} 0"),
            ("bad and on() vector(1)", "bad{pod=a} 1; bad{pod=b} 3"),
        ],
    );
}

#[test]
fn what_is_not_supported_is_never_a_wrong_value() {
    for query in [
        "max_over_time(bad[5m:1m])",
        "count_values(\"x\", bad)",
        "bad + fill(0) all",
        "limitk(1, bad)",
        "deriv(bad[5m])",
        "hour()",
        "bad atan2 all",
        "{pod=\"a\" or pod=\"b\"}",
    ] {
        let error = ask(&series(), query);
        assert!(
            error.starts_with("execution ") && error.ends_with("not supported"),
            "{query}: {error}"
        );
    }
}
