//! Aggregations.

use super::{Prometheus, check, with};

fn series() -> Prometheus {
    with(&[
        ("x{app=\"f\",pod=\"a\",code=\"200\"}", 1.0),
        ("x{app=\"f\",pod=\"a\",code=\"500\"}", 2.0),
        ("x{app=\"f\",pod=\"b\",code=\"200\"}", 4.0),
        ("x{pod=\"c\",code=\"200\"}", 9.0),
        ("odd{pod=\"a\"}", f64::NAN),
        ("odd{pod=\"b\"}", 2.0),
        ("tenths{n=\"1\"}", 0.1),
        ("tenths{n=\"2\"}", 0.2),
        ("tenths{n=\"3\"}", 1e16),
        ("tenths{n=\"4\"}", -1e16),
    ])
}

#[test]
fn everything_is_one_group_without_labels() {
    check(
        &series(),
        &[
            ("sum(x)", "{} 16"),
            ("avg(x)", "{} 4"),
            ("min(x)", "{} 1"),
            ("max(x)", "{} 9"),
            ("count(x)", "{} 4"),
            ("group(x)", "{} 1"),
            ("stdvar(x)", "{} 9.5"),
            ("stddev(x{pod=\"a\"})", "{} 0.5"),
            ("sum(nothing)", ""),
            ("count(nothing)", ""),
        ],
    );
}

#[test]
fn groups_are_formed_by_or_without_labels() {
    check(
        &series(),
        &[
            ("sum by (pod) (x)", "{pod=a} 3; {pod=b} 4; {pod=c} 9"),
            ("sum(x) by (app)", "{} 9; {app=f} 7"),
            ("sum(x) without (code, app)", "{pod=a} 3; {pod=b} 4; {pod=c} 9"),
            (
                "count by (code, app) (x)",
                "{app=f,code=200} 2; {app=f,code=500} 1; {code=200} 1",
            ),
            ("max by (__name__) (x)", "x{} 9"),
            ("sum by (nothing) (x)", "{} 16"),
            ("sum without () (x{pod=\"b\"})", "{app=f,code=200,pod=b} 4"),
        ],
    );
}

#[test]
fn nan_spoils_a_sum_but_not_an_extreme() {
    check(
        &series(),
        &[
            ("sum(odd)", "{} NaN"),
            ("avg(odd)", "{} NaN"),
            ("min(odd)", "{} 2"),
            ("max(odd)", "{} 2"),
            ("max(odd{pod=\"a\"})", "{} NaN"),
            ("count(odd)", "{} 2"),
        ],
    );
}

#[test]
fn a_sum_loses_no_digits() {
    check(&series(), &[("sum(tenths)", "{} 0.30000000000000004")]);
}

#[test]
fn quantiles_are_interpolated() {
    check(
        &series(),
        &[
            ("quantile(0.5, x)", "{} 3"),
            ("quantile(0, x)", "{} 1"),
            ("quantile(1, x)", "{} 9"),
            ("quantile(0.9, x{pod=\"a\"})", "{} 1.9"),
            ("quantile(0.5, x{pod=\"c\"})", "{} 9"),
            ("quantile(-1, x)", "{} -Inf"),
            ("quantile(2, x)", "{} +Inf"),
            ("quantile(NaN, x)", "{} NaN"),
            ("quantile by (pod) (0.5, x{app=\"f\"})", "{pod=a} 1.5; {pod=b} 4"),
        ],
    );
}

#[test]
fn topk_and_bottomk_keep_the_series_as_they_are() {
    check(
        &series(),
        &[
            ("topk(2, x)", "x{code=200,pod=c} 9; x{app=f,code=200,pod=b} 4"),
            ("bottomk(1, x)", "x{app=f,code=200,pod=a} 1"),
            ("topk by (app) (1, x)", "x{code=200,pod=c} 9; x{app=f,code=200,pod=b} 4"),
            ("topk(2.9, odd)", "odd{pod=b} 2; odd{pod=a} NaN"),
            ("bottomk(1, odd)", "odd{pod=b} 2"),
            ("topk(0, x)", ""),
            ("topk(-1, x)", ""),
            ("topk(NaN, x)", "execution Scalar value NaN overflows int64"),
            ("bottomk(Inf, x)", "execution Scalar value +Inf overflows int64"),
            ("topk(scalar(vector(1)), x)", "x{code=200,pod=c} 9"),
        ],
    );
}
