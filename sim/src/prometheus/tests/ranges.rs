//! Functions of ranges, over series that grow evenly, jump or have just started.

use super::{NOW, Prometheus, ask, ask_at, check, time, with};

fn growing(start: f64, per_second: f64, since: i64) -> Prometheus {
    let prometheus = Prometheus::new();
    prometheus
        .set("x{a=\"b\"}", time(NOW - since), start, per_second)
        .unwrap();
    prometheus
}

#[test]
fn a_linear_counter_rates_exactly_its_slope() {
    for per_second in [0.0, 0.25, 1.0, 3.0, 100.0, 123_456.0] {
        let prometheus = growing(0.0, per_second, 3600);
        for range in ["5s", "10s", "1m", "90s", "5m", "50m"] {
            for function in ["rate", "irate"] {
                let query = format!("{function}(x[{range}])");
                assert_eq!(ask(&prometheus, &query), format!("{{a=b}} {per_second}"), "{query}");
            }
        }
    }
}

#[test]
fn an_increase_is_the_slope_times_the_range() {
    let prometheus = growing(1000.0, 2.0, 3600);
    check(
        &prometheus,
        &[
            ("increase(x[1m])", "{a=b} 120"),
            ("increase(x[5m])", "{a=b} 600"),
            ("delta(x[5m])", "{a=b} 600"),
            ("idelta(x[1m])", "{a=b} 4"),
        ],
    );
    check(
        &growing(0.0, -2.0, 3600),
        &[("delta(x[1m])", "{a=b} -120"), ("idelta(x[10s])", "{a=b} -2")],
    );
}

#[test]
fn a_rate_takes_two_samples() {
    check(
        &growing(0.0, 1.0, 0),
        &[
            ("rate(x[1m])", ""),
            ("irate(x[1m])", ""),
            ("increase(x[1m])", ""),
            ("delta(x[1m])", ""),
            ("last_over_time(x[1m])", "x{a=b} 0"),
        ],
    );
    check(&growing(0.0, 1.0, 60), &[("rate(x[1s])", ""), ("rate(x[500ms])", "")]);
}

#[test]
fn a_counter_that_began_at_0_within_the_range_is_not_extrapolated() {
    check(
        &growing(0.0, 3.0, 30),
        &[
            ("increase(x[1m])", "{a=b} 90"),
            ("rate(x[1m])", "{a=b} 1.5"),
            ("irate(x[1m])", "{a=b} 3"),
        ],
    );
}

#[test]
fn one_that_began_above_is_extrapolated_by_half_a_sample() {
    // With a sample every 2 s, the change is extrapolated to 30 s plus half of 2 s.
    check(
        &growing(500.0, 3.0, 30),
        &[("increase(x[1m])", "{a=b} 93"), ("delta(x[1m])", "{a=b} 93")],
    );
}

#[test]
fn a_reset_counts_from_0() {
    let prometheus = growing(0.0, 10.0, 3600);
    prometheus.set("x{a=\"b\"}", time(NOW - 30), 0.0, 10.0).unwrap();
    // The samples grow by 260 up to 2 s before the reset and by 300 since: 560 in 58 s.
    check(
        &prometheus,
        &[
            ("resets(x[1m])", "{a=b} 1"),
            ("increase(x[1m])", "{a=b} 579.3103448275862"),
            ("delta(x[1m])", "{a=b} -36331.03448275862"),
            ("irate(x[1m])", "{a=b} 10"),
        ],
    );
}

#[test]
fn irate_over_a_reset_is_what_came_since() {
    let prometheus = growing(0.0, 10.0, 3600);
    prometheus.set("x{a=\"b\"}", time(NOW), 4.0, 10.0).unwrap();
    check(&prometheus, &[("irate(x[10s])", "{a=b} 4")]);
}

#[test]
fn values_over_time_are_those_of_the_samples() {
    // Samples are 1 s apart: 1 … 10, with 10 at the evaluation time.
    let prometheus = growing(0.0, 1.0, 10);
    check(
        &prometheus,
        &[
            ("count_over_time(x[10s])", "{a=b} 10"),
            ("sum_over_time(x[10s])", "{a=b} 55"),
            ("avg_over_time(x[10s])", "{a=b} 5.5"),
            ("min_over_time(x[10s])", "{a=b} 1"),
            ("max_over_time(x[10s])", "{a=b} 10"),
            ("stdvar_over_time(x[3s])", "{a=b} 0.6666666666666666"),
            ("stddev_over_time(x[2s])", "{a=b} 0.5"),
            ("quantile_over_time(0.5, x[10s])", "{a=b} 5.5"),
            ("first_over_time(x[10s])", "x{a=b} 1"),
            ("last_over_time(x[10s])", "x{a=b} 10"),
            ("present_over_time(x[10s])", "{a=b} 1"),
            ("changes(x[10s])", "{a=b} 9"),
            ("resets(x[10s])", "{a=b} 0"),
            ("changes(x[10s] offset 1h)", ""),
        ],
    );
}

#[test]
fn a_range_has_30_samples_or_one_a_second() {
    let prometheus = with(&[("x", 1.0)]);
    check(
        &prometheus,
        &[
            ("count_over_time(x[500ms])", "{} 1"),
            ("count_over_time(x[5s])", "{} 5"),
            ("count_over_time(x[30s])", "{} 30"),
            ("count_over_time(x[1m])", "{} 30"),
            ("count_over_time(x[5m])", "{} 30"),
            ("count_over_time(x[1y])", "{} 30"),
        ],
    );
}

#[test]
fn names_that_are_dropped_must_not_make_two_series_one() {
    let prometheus = with(&[("x{a=\"b\"}", 1.0), ("y{a=\"b\"}", 1.0)]);
    check(
        &prometheus,
        &[
            (
                "rate({a=\"b\"}[1m])",
                "execution vector cannot contain metrics with the same labelset",
            ),
            ("last_over_time({a=\"b\"}[1m])", "x{a=b} 1; y{a=b} 1"),
        ],
    );
}

#[test]
fn a_ratio_of_rates_is_the_share_of_errors() {
    let prometheus = Prometheus::new();
    for (labels, per_second) in [
        ("code=\"200\",pod=\"a\"", 9.0),
        ("code=\"500\",pod=\"a\"", 1.0),
        ("code=\"200\",pod=\"b\"", 5.0),
        ("code=\"503\",pod=\"b\"", 5.0),
        ("code=\"500\",pod=\"other\"", 99.0),
    ] {
        let series = format!("http_requests_total{{{labels}}}");
        prometheus.set(&series, time(NOW - 900), 0.0, per_second).unwrap();
    }
    let query = "sum(rate(http_requests_total{code=~\"5..\",pod=~\"a|b\"}[5m])) \
                 / sum(rate(http_requests_total{pod=~\"a|b\"}[5m]))";
    assert_eq!(ask(&prometheus, query), "{} 0.3");
    assert_eq!(ask(&prometheus, &format!("{query} <= bool 0.3")), "{} 1");
    assert_eq!(ask_at(&prometheus, NOW - 1800, query), "", "before the first sample");
}
