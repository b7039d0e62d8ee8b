//! `histogram_quantile`.

use super::{NOW, Prometheus, ask, check, time, with};

fn buckets(counts: &[(&str, f64)]) -> Prometheus {
    let prometheus = Prometheus::new();
    for (le, count) in counts {
        let series = format!("b{{le=\"{le}\",pod=\"a\"}}");
        prometheus.set(&series, time(0), *count, 0.0).unwrap();
    }
    prometheus
}

#[test]
fn a_quantile_is_interpolated_within_its_bucket() {
    let prometheus = buckets(&[("1", 10.0), ("2", 30.0), ("4", 40.0), ("+Inf", 40.0)]);
    check(
        &prometheus,
        &[
            ("histogram_quantile(0.5, b)", "{pod=a} 1.5"),
            ("histogram_quantile(0.125, b)", "{pod=a} 0.5"),
            ("histogram_quantile(0.25, b)", "{pod=a} 1"),
            ("histogram_quantile(1, b)", "{pod=a} 4"),
            ("histogram_quantile(0, b)", "{pod=a} 0"),
            ("histogram_quantile(-1, b)", "{pod=a} -Inf"),
            ("histogram_quantile(2, b)", "{pod=a} +Inf"),
            ("histogram_quantile(NaN, b)", "{pod=a} NaN"),
            ("histogram_quantile(0.5, sum(b) by (le))", "{} 1.5"),
            ("histogram_quantile(0.5, nothing)", ""),
        ],
    );
}

#[test]
fn beyond_the_highest_finite_bucket_there_is_only_its_bound() {
    let prometheus = buckets(&[("1", 10.0), ("2", 30.0), ("+Inf", 100.0)]);
    check(&prometheus, &[("histogram_quantile(0.9, b)", "{pod=a} 2")]);
}

#[test]
fn without_observations_or_buckets_there_is_no_number() {
    let quantile = "histogram_quantile(0.5, b)";
    assert_eq!(ask(&buckets(&[("1", 0.0), ("+Inf", 0.0)]), quantile), "{pod=a} NaN");
    assert_eq!(
        ask(&buckets(&[("1", 5.0), ("2", 6.0)]), quantile),
        "{pod=a} NaN",
        "no +Inf"
    );
    assert_eq!(ask(&buckets(&[("+Inf", 5.0)]), quantile), "{pod=a} NaN");
    assert_eq!(ask(&buckets(&[("one", 5.0)]), quantile), "");
    assert_eq!(ask(&with(&[("b", 5.0)]), quantile), "");
}

#[test]
fn a_first_bucket_that_is_not_above_0_is_its_own_quantile() {
    let prometheus = buckets(&[("-1", 10.0), ("1", 20.0), ("+Inf", 20.0)]);
    check(
        &prometheus,
        &[
            ("histogram_quantile(0.25, b)", "{pod=a} -1"),
            ("histogram_quantile(0.75, b)", "{pod=a} 0"),
        ],
    );
}

#[test]
fn counts_that_fall_are_raised_and_equal_bounds_added_up() {
    let prometheus = buckets(&[("1", 10.0), ("2", 8.0), ("4", 20.0), ("+Inf", 20.0)]);
    check(&prometheus, &[("histogram_quantile(0.75, b)", "{pod=a} 3")]);
    let prometheus = buckets(&[("1", 5.0), ("1.0", 5.0), ("2", 20.0), ("+Inf", 20.0)]);
    check(&prometheus, &[("histogram_quantile(0.25, b)", "{pod=a} 0.5")]);
}

#[test]
fn each_histogram_has_its_own_quantile() {
    let prometheus = with(&[
        ("b{le=\"1\",pod=\"a\"}", 10.0),
        ("b{le=\"+Inf\",pod=\"a\"}", 10.0),
        ("b{le=\"3\",pod=\"b\"}", 10.0),
        ("b{le=\"+Inf\",pod=\"b\"}", 10.0),
    ]);
    check(
        &prometheus,
        &[("histogram_quantile(0.5, b)", "{pod=a} 0.5; {pod=b} 1.5")],
    );
    prometheus.set("c{le=\"+Inf\",pod=\"a\"}", time(0), 1.0, 0.0).unwrap();
    let error = "execution vector cannot contain metrics with the same labelset";
    check(&prometheus, &[("histogram_quantile(0.5, {pod=\"a\"})", error)]);
}

/// The query of the Istio examples.
#[test]
fn the_istio_quantile_tells_a_slow_canary_from_a_fast_one() {
    let prometheus = Prometheus::new();
    for (workload, rates) in [
        ("myapp-kanary-hulk", [10.0, 20.0, 90.0, 100.0, 100.0]),
        ("myapp-kanary-batman", [50.0, 100.0, 100.0, 100.0, 100.0]),
    ] {
        for (le, per_second) in ["0.1", "0.25", "0.5", "1", "+Inf"].into_iter().zip(rates) {
            for pod in ["a", "b"] {
                let labels =
                    format!("reporter=\"destination\",destination_workload=\"{workload}\",le=\"{le}\",pod=\"{pod}\"");
                let series = format!("istio_request_duration_seconds_bucket{{{labels}}}");
                prometheus.set(&series, time(NOW - 300), 0.0, per_second).unwrap();
            }
        }
    }
    let query = |workload: &str| {
        format!(
            "histogram_quantile(0.99, sum(rate(istio_request_duration_seconds_bucket{{reporter=\"destination\",\
             destination_workload=\"myapp-kanary-{workload}\"}}[1m])) by (le))"
        )
    };
    let (slow, fast) = (query("hulk"), query("batman"));
    let cases = [
        (slow.clone(), "{} 0.95"),
        (format!("{slow} > 0.31"), "{} 0.95"),
        (format!("{slow} < 0.31"), ""),
        (fast.clone(), "{} 0.247"),
        (format!("{fast} > 0.31"), ""),
        (format!("{fast} < 0.31"), "{} 0.247"),
        (fast.replace("rate(", "irate(").replace("1m", "10s"), "{} 0.247"),
        (query("robin"), ""),
    ];
    for (query, expected) in cases {
        assert_eq!(ask(&prometheus, &query), expected, "{query}");
    }
}
